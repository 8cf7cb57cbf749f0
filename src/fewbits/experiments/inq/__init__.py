"""The experiment ``inq``: what trains and measures for the records of its chapter."""
