"""The experiment ``logarithmic``: what trains and measures for the records of its chapter."""
