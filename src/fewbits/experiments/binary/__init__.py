"""The experiment ``binary``: what trains and measures for the records of its chapter."""
