"""Few Bits: quantized neural networks, from the formula to the FPGA."""
