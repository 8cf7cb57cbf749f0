"""The experiment ``learned_step``: what trains and measures for the records of its chapter."""
