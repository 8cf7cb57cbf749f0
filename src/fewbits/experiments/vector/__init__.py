"""The experiment ``vector``: what trains and measures for the records of its chapter."""
