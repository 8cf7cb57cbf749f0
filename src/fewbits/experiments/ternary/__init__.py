"""The experiment ``ternary``: what trains and measures for the records of its chapter."""
