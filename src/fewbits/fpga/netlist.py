"""Gate-level simulation of a synthesized netlist: the very circuit whose look-up tables are counted.

The gates are those that Yosys uses for the family: LUT1–6, INV, MUXF7–9, CARRY4, FDRE, FDSE, SRL16E, SRLC32E, and
DSP48E2 as the plain multiplier that Yosys uses it for. :mod:`fewbits.fpga.gates` says what each does.
"""

import copy
from collections.abc import Iterable, Mapping

import numpy as np

from fewbits.fpga.gates import ALL, PINS, REGISTERS, Group, Registers, check_multiplier, compute, from_rows, to_rows
from fewbits.fpga.synthesis import Synthesis

_NO_CELL = ("$scopeinfo",)  # notes of Yosys, not gates


class Netlist:
    """A flat synthesized circuit that can be run.

    Args:
        synthesis: made with ``flatten=True``.
    Raises:
        ValueError: the netlist has a hierarchy, a gate that this simulator does not support, or a combinational loop.
    Source: own (simulation of a netlist)
    """

    def __init__(self, synthesis: Synthesis):
        (module,) = [module for module in synthesis.design.values() if int(module["attributes"].get("top", "0"), 2)]
        cells = {name: cell for name, cell in module["cells"].items() if cell["type"] not in _NO_CELL}
        unknown = sorted({cell["type"] for cell in cells.values()} - PINS.keys() - set(REGISTERS))
        if unknown:
            raise ValueError(f"{synthesis.top!r} has cells that are no known gates (synthesized flat?): {unknown}")
        for cell in cells.values():
            if cell["type"] == "DSP48E2":
                check_multiplier(cell)
        # Row 0 is constant 0, row 1 constant 1. What is undefined ('x') may be anything: here 0.
        self._row: dict[int | str, int] = {"0": 0, "1": 1, "x": 0, "z": 0}
        self._rows = 2
        self.ports = {name: port["direction"] for name, port in module["ports"].items()}
        self._bits = {name: [self._net(bit) for bit in port["bits"]] for name, port in module["ports"].items()}
        self._wires = {name: net["bits"] for name, net in module.get("netnames", {}).items()}
        gates = {name: cell for name, cell in cells.items() if cell["type"] in PINS}
        self._registers = [Registers(kind, cells, self._net) for kind in REGISTERS]
        self._groups, self.luts = self._schedule(gates)

    def _net(self, bit: int | str) -> int:
        """The row of a bit of the netlist, a new one if it has none yet."""
        if bit not in self._row:
            self._row[bit] = self._rows
            self._rows += 1
        return self._row[bit]

    def _schedule(self, gates: dict) -> tuple[list[Group], list[str]]:
        """Gates in groups, each after all that drive it; and the names of the LUTs in that order."""
        pins = {}
        for name, cell in gates.items():
            inputs, outputs = PINS[cell["type"]]
            wires = cell["connections"]
            pins[name] = tuple([self._net(bit) for pin in side for bit in wires[pin]] for side in (inputs, outputs))
        driver = {row: name for name, (_, outputs) in pins.items() for row in outputs}
        level = _levels({name: {driver[row] for row in rows if row in driver} for name, (rows, _) in pins.items()})
        by_group: dict[tuple[int, str], list[str]] = {}
        for name in gates:
            by_group.setdefault((level[name], gates[name]["type"]), []).append(name)
        groups: list[Group] = []
        luts: list[str] = []
        for (_, kind), names in sorted(by_group.items()):
            sources, targets = (np.array([pins[name][side] for name in names]) for side in (0, 1))
            table = np.zeros((len(names), 0), bool)
            if kind.startswith("LUT"):
                # INIT is written with the entry for "all inputs 1" first.
                table = np.array([[bit == "1" for bit in gates[name]["parameters"]["INIT"][::-1]] for name in names])
            groups.append(Group(kind, sources, targets, table, len(luts)))
            luts += names if kind.startswith("LUT") else []
        return groups, luts

    def tables(self) -> dict[int, np.ndarray]:
        """By number of the LUT (its name is ``luts[number]``) its table: (2^inputs,) bool, input 0 counting 1."""
        return {group.first + i: row for group in self._groups for i, row in enumerate(group.table) if row.size}

    def flipped(self, lut: int, entry: int) -> "Netlist":
        """A copy of this circuit in which one entry of one look-up table is wrong."""
        broken = copy.copy(self)
        broken._groups = list(self._groups)
        for place, group in enumerate(self._groups):
            if group.table.size and group.first <= lut < group.first + len(group.table):
                table = group.table.copy()
                table[lut - group.first, entry] ^= True
                broken._groups[place] = Group(group.kind, group.inputs, group.outputs, table, group.first)
                return broken
        raise ValueError(f"lut must lie between 0 and {len(self.luts) - 1}, got {lut}")

    def run(
        self,
        stimulus: Mapping[str, np.ndarray],
        seen: dict[int, np.ndarray] | None = None,
        probe: Iterable[str] = (),
    ) -> dict[str, np.ndarray]:
        """Run the circuit from power-up, all registers 0 unless the netlist says otherwise.

        Args:
            stimulus: for each input but ``clk``, (cycles, vectors) or (cycles, vectors, k) integers. A port of k
                numbers takes them lowest bits first. All vectors are independent: each has a circuit of its own.
            seen: if given, it is filled: by LUT, (entries,) bool, which entries of its table were ever read.
            probe: wires inside the circuit to return too, by their names in the netlist (``multiply.shifted``). Bits
                that synthesis took away read as 0.
        Returns:
            For each output (cycles, vectors) uint64, or (cycles, vectors, k) where it is wider than 64 bits and holds k
            numbers of 32: what stands there at the end of the cycle, before the next clock edge.
        Raises:
            ValueError: an input is missing, unknown, or of another shape than the others.
        """
        inputs = {name for name, direction in self.ports.items() if direction == "input" and name != "clk"}
        if stimulus.keys() != inputs:
            raise ValueError(f"stimulus must be given for {sorted(inputs)}, got {sorted(stimulus)}")
        arrays = {name: np.asarray(values) for name, values in stimulus.items()}
        shapes = {array.shape[:2] for array in arrays.values()}
        if len(shapes) != 1:
            raise ValueError(f"stimulus must have the same cycles and vectors for all inputs, got {sorted(shapes)}")
        ((cycles, vectors),) = shapes
        rows = np.zeros((self._rows, -(-vectors // 64)), np.uint64)
        rows[1] = ALL
        for registers in self._registers:
            registers.reset(rows)
        read = {name: self._bits[name] for name, direction in self.ports.items() if direction == "output"}
        for name in probe:
            if name not in self._wires:
                raise ValueError(f"probe names no wire of the netlist: {name!r}")
            read[name] = [self._row.get(bit, 0) for bit in self._wires[name]]
        results: dict[str, list[np.ndarray]] = {name: [] for name in read}
        for cycle in range(cycles):
            for name, array in arrays.items():
                numbers = array[cycle].reshape(vectors, -1)
                width = len(self._bits[name]) // numbers.shape[1]
                for k in range(numbers.shape[1]):
                    rows[self._bits[name][k * width : (k + 1) * width]] = to_rows(numbers[:, k], width)
            for group in self._groups:
                compute(group, rows, seen)
            for name, found in results.items():
                found.append(_read(rows[read[name]], vectors))
            updates = [registers.next(rows) for registers in self._registers]
            for registers, update in zip(self._registers, updates, strict=True):
                registers.store(rows, update)
        return {name: np.array(found) for name, found in results.items()}


def _read(rows: np.ndarray, vectors: int) -> np.ndarray:
    if len(rows) <= 64:
        return from_rows(rows, vectors)
    return np.stack([from_rows(rows[k : k + 32], vectors) for k in range(0, len(rows), 32)], axis=1)


def _levels(drivers: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How many gates lie before each, on the longest way. A loop has no such number."""
    levels, waiting = {}, {name: set(its) for name, its in drivers.items()}
    driven: dict[str, list[str]] = {}
    for name, its in drivers.items():
        for other in its:
            driven.setdefault(other, []).append(name)
    ready, level = [name for name, its in waiting.items() if not its], 0
    while ready:
        following = []
        for name in ready:
            levels[name] = level
            for other in driven.get(name, ()):
                waiting[other].discard(name)
                if not waiting[other]:
                    following.append(other)
        ready, level = following, level + 1
    if len(levels) < len(drivers):
        raise ValueError(f"combinational loop through {sorted(drivers.keys() - levels.keys())[:3]}")
    return levels
