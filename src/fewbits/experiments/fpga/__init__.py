"""The experiment ``fpga``: what trains and measures for the records of its chapter."""
