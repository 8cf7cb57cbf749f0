"""The experiment ``noise``: what trains and measures for the records of its chapter."""
