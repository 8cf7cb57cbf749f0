"""The experiment ``method_map``: what trains and measures for the records of its chapter."""
