"""Hardware: models of processors whose time and circuits follow from the number of bits.

:func:`write_memory_files` takes the codes of a trained network to circuits of one's own.
"""

from fewbits.fpga.memory_files import Memory, read_memory_file, write_memory_files

__all__ = ["Memory", "read_memory_file", "write_memory_files"]
