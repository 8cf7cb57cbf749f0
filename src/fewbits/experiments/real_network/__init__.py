"""The experiment ``real_network``: what trains and measures for the records of its chapter."""
