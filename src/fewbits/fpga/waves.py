"""What wires of a circuit hold, cycle by cycle: the numbers of a waveform (drawn by ``fewbits.plots.fpga_gates``)."""

from collections.abc import Mapping, Sequence

import numpy as np

from fewbits.fpga.netlist import Netlist


def record(
    netlist: Netlist, inputs: Mapping[str, Sequence[int]], wires: Mapping[str, tuple[str, bool]]
) -> dict[str, list[int]]:
    """Run a circuit on one sequence of inputs, and write down what chosen wires hold in each cycle.

    Args:
        netlist: the circuit. No port may hold more than one number.
        inputs: by input port, one integer a cycle.
        wires: by the label to show, (name of an input, an output or a wire inside, whether it is signed).
    Returns:
        By label, one integer a cycle.
    Raises:
        ValueError: a wire is unknown, or inputs differ in length.
    Source: own (waveforms)
    """
    stimulus = {name: np.array(values, np.int64)[:, None] for name, values in inputs.items()}
    inside = [name for name, _ in wires.values() if name not in netlist.ports]
    found = netlist.run(stimulus, probe=inside)
    waves = {}
    for label, (name, signed) in wires.items():
        if name in inputs:
            waves[label] = [int(value) for value in inputs[name]]
        else:
            values = found[name][:, 0]
            waves[label] = [int(v) for v in (values.astype(np.uint32).view(np.int32) if signed else values)]
    return waves
