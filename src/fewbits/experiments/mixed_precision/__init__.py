"""The experiment ``mixed_precision``: what trains and measures for the records of its chapter."""
