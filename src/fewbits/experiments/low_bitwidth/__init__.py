"""The experiment ``low_bitwidth``: what trains and measures for the records of its chapter."""
