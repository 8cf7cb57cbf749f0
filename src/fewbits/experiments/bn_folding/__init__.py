"""The experiment ``bn_folding``: what trains and measures for the records of its chapter."""
