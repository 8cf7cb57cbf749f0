"""The experiment ``mobileone``: what trains and measures for the records of its chapter."""
