"""The primitives of the FPGA, 64 test vectors at a time (see `fewbits.fpga.netlist`).

A bit of the circuit is a row of 64-bit words, and each bit of a word is another test vector. So one ``and`` of NumPy
works on 64 vectors a word, for all gates of a kind at once. A number of 32 bits is 32 rows.

What each primitive does is from Xilinx' UltraScale library guide (UG974).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
REGISTERS = ("FDRE", "FDSE", "SRL16E", "SRLC32E")
# Inputs and outputs of each kind of gate, in the order in which `compute` reads and writes them.
PINS = {
    **{f"LUT{k}": ([f"I{i}" for i in range(k)], ["O"]) for k in range(1, 7)},
    "INV": (["I"], ["O"]),
    **{f"MUXF{k}": (["I0", "I1", "S"], ["O"]) for k in (7, 8, 9)},
    "CARRY4": (["CI", "CYINIT", "DI", "S"], ["O", "CO"]),
    "DSP48E2": (["A", "B"], ["P"]),
}


def to_rows(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers into rows of bits: row j holds bit j of each number.

    Args:
        values: (vectors,) integers; the low ``bits`` bits count, so negative numbers are in two's complement.
    Returns:
        (bits, ceil(vectors / 64)) uint64.
    Source: own (simulation of gates)
    """
    words = np.zeros(-(-len(values) // 64) * 64, dtype="<u8")
    words[: len(values)] = values.astype(np.int64).view(np.uint64) if values.dtype != np.uint64 else values
    fields = np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1, count=bits, bitorder="little")
    return np.ascontiguousarray(np.packbits(fields.T, axis=1, bitorder="little")).view("<u8").astype(np.uint64)


def from_rows(rows: np.ndarray, vectors: int) -> np.ndarray:
    """Rows of bits into numbers: (bits, words) uint64 to (vectors,) uint64, the inverse of :func:`to_rows`.

    Source: own (simulation of gates)
    """
    fields = np.unpackbits(rows.astype("<u8").view(np.uint8), axis=1, count=vectors, bitorder="little")
    bytes_ = np.zeros((vectors, 8), np.uint8)
    packed = np.packbits(fields.T, axis=1, bitorder="little")
    bytes_[:, : packed.shape[1]] = packed
    return bytes_.view("<u8")[:, 0].astype(np.uint64)


@dataclass
class Group:
    """Gates of one kind whose inputs are known at the same time: rows they read and write, and tables of LUTs.

    Source: own (simulation of gates)
    """

    kind: str
    inputs: np.ndarray  # (gates, inputs)
    outputs: np.ndarray  # (gates, outputs)
    table: np.ndarray  # (gates, entries) bool, for LUTs
    first: int  # number of the first LUT


def compute(group: Group, rows: np.ndarray, seen: dict[int, np.ndarray] | None) -> None:
    """The outputs of a group of gates from their inputs, in ``rows``.

    Source: own (simulation of gates)
    """
    x = rows[group.inputs]  # (gates, inputs, words)
    if group.kind.startswith("LUT"):
        rows[group.outputs[:, 0]] = _look_up(group.table, x)
        if seen is not None:
            _note(group, x, seen)
    elif group.kind == "INV":
        rows[group.outputs[:, 0]] = ~x[:, 0]
    elif group.kind.startswith("MUXF"):
        rows[group.outputs[:, 0]] = x[:, 0] ^ ((x[:, 0] ^ x[:, 1]) & x[:, 2])
    elif group.kind == "CARRY4":
        carry = x[:, 0] | x[:, 1]
        for i in range(4):
            given, propagate = x[:, 2 + i], x[:, 6 + i]
            rows[group.outputs[:, i]] = propagate ^ carry
            carry = given ^ ((given ^ carry) & propagate)
            rows[group.outputs[:, 4 + i]] = carry
    else:
        _multiply(group, x, rows)


def _look_up(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Look-up tables as trees of multiplexers: each input halves the table. (gates, words)."""
    entries = np.where(table, ALL, np.uint64(0))[:, :, None]
    for i in range(x.shape[1]):
        low, high = entries[:, 0::2], entries[:, 1::2]
        entries = low ^ ((low ^ high) & x[:, i, None])
    return entries[:, 0]


def _note(group: Group, x: np.ndarray, seen: dict[int, np.ndarray]) -> None:
    for i, inputs in enumerate(x):
        entries = np.array([[ALL]])
        for wire in inputs[::-1]:
            entries = np.stack([entries & ~wire, entries & wire], axis=1).reshape(-1, wire.size)
        found = np.asarray(entries.any(axis=1))
        before = seen.get(group.first + i)
        seen[group.first + i] = found if before is None else found | before


def check_multiplier(cell: dict) -> None:
    """Make sure that a DSP48E2 is the plain multiplier that :func:`compute` takes it for.

    Raises:
        ValueError: it has a register in use, or another operation than A × B.
    Source: own (simulation of gates)
    """
    wires = cell["connections"]
    registers = [name for name, bits in cell["parameters"].items() if name.endswith("REG") and "1" in bits]
    if registers or wires["OPMODE"] != list("101000000") or set(wires["ALUMODE"]) != {"0"}:
        raise ValueError(f"DSP48E2 must be a plain multiplier: registers {registers}, OPMODE {wires['OPMODE']}")


def _multiply(group: Group, x: np.ndarray, rows: np.ndarray) -> None:
    """DSP48E2 as a signed 27 × 18 multiplier: A has 30 pins of which 27 count, then come the 18 of B."""
    for outputs, pins in zip(group.outputs, x, strict=True):
        vectors = 64 * pins.shape[1]
        a = _signed(from_rows(pins[:27], vectors), 27)
        b = _signed(from_rows(pins[30:48], vectors), 18)
        rows[outputs] = to_rows(a * b, len(outputs))


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    """(n,) uint64 of ``bits`` bits in two's complement into int64."""
    shift = np.int64(64 - bits)
    return (values.view(np.int64) << shift) >> shift


class Registers:
    """All registers of one kind.

    Source: own (simulation of gates)
    """

    def __init__(self, kind: str, cells: Mapping[str, dict], net):
        mine = [cell for cell in cells.values() if cell["type"] == kind]
        self.kind = kind
        self.depth = {"SRL16E": 16, "SRLC32E": 32}.get(kind, 1)

        def wires(pin: str) -> np.ndarray:
            return np.array([net(cell["connections"][pin][0]) for cell in mine], int)

        for cell in mine:
            inverted = [name for name, bit in cell["parameters"].items() if name.startswith("IS_") and int(bit, 2)]
            if inverted:
                raise ValueError(f"{kind} with inverted pins is not simulated: {inverted}")
        self.d, self.q, self.enable = wires("D"), wires("Q"), wires("CE")
        start = [cell["parameters"]["INIT"].replace("x", "0")[::-1].ljust(self.depth, "0") for cell in mine]
        self.start = np.array([[bit == "1" for bit in bits] for bits in start], bool).reshape(-1, self.depth)
        if self.depth > 1:
            self.place = np.array([constant_place(cell["connections"], kind) for cell in mine], int)
        else:
            self.reset_wire = wires("R" if kind == "FDRE" else "S")

    def reset(self, rows: np.ndarray) -> None:
        """The state at power-up."""
        state = np.where(self.start, ALL, np.uint64(0))
        self.state = np.repeat(state[:, :, None], rows.shape[1], axis=2)  # (registers, depth, words)
        self._show(rows)

    def _show(self, rows: np.ndarray) -> None:
        rows[self.q] = self.state[np.arange(len(self.q)), self.place] if self.depth > 1 else self.state[:, 0]

    def next(self, rows: np.ndarray) -> np.ndarray:
        """The state after the clock edge."""
        d, enable = rows[self.d][:, None], rows[self.enable][:, None]
        moved = np.concatenate([d, self.state[:, :-1]], axis=1)
        state = self.state ^ ((self.state ^ moved) & enable)
        if self.depth > 1:
            return state
        reset = rows[self.reset_wire][:, None]
        return state & ~reset if self.kind == "FDRE" else state | reset

    def store(self, rows: np.ndarray, state: np.ndarray) -> None:
        """Take over what :meth:`next` returned."""
        self.state = state
        self._show(rows)


def constant_place(wires: Mapping[str, list], kind: str) -> int:
    """Which place of a shift register is read: the address pins, which must be constant.

    Source: own (simulation of gates)
    """
    pins = [wires[f"A{i}"][0] for i in range(4)] if kind == "SRL16E" else wires["A"]
    if not set(pins) <= {"0", "1"}:
        raise ValueError(f"{kind} with an address that changes is not simulated")
    return sum((pin == "1") << i for i, pin in enumerate(pins))
