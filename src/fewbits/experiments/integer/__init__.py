"""The experiment ``integer``: what trains and measures for the records of its chapter."""
