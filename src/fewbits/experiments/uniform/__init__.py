"""The experiment ``uniform``: what trains and measures for the records of its chapter."""
