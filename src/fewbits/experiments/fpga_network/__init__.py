"""The experiment ``fpga_network``: what trains and measures for the records of its chapter."""
