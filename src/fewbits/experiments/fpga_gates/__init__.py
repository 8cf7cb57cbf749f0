"""The experiment ``fpga_gates``: what trains and measures for the records of its chapter."""
