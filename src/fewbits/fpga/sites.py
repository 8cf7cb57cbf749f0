"""What a netlist takes on the chip: sites of look-up tables, carry blocks, and the tables between two registers.

A site of the UltraScale+ family (LUT6_2) holds one table of six inputs, or two tables that have at most five different
inputs together. A table that drives a carry block's S pin must sit at that bit of the block, where only the table of
the same bit's DI pin belongs beside it. Which tables a vendor's tool does put together depends on placement, so three
numbers are given:

- *unpacked*: every table has a site of its own.
- *fair*: two tables share a site if they fit and have an input in common, so that sharing shortens wires; a table that
  drives S shares with that of the same DI only. Inverters are absorbed by the tables that read them.
- *aggressive*: any two tables that fit share a site, also beside a table that drives S, and two shift registers of
  up to 16 places do.

Yosys counts carry blocks of four bits, CARRY4; the family has blocks of eight, CARRY8.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TABLES = tuple(f"LUT{k}" for k in range(1, 7))
SHIFT_REGISTERS = ("SRL16E", "SRLC32E")
# Tables used as memory, with how many of them one takes: shift registers, memories with one port, and with more.
MEMORY_LUTS = {"SRL16E": 1, "SRLC32E": 1, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4}
MEMORY_LUTS |= {"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8}
_NEAR = 64  # tables looked at for each input when a partner is chosen


@dataclass
class _Table:
    inputs: frozenset
    drives_s: bool = False
    beside: str = ""  # the table of the same bit's DI


@dataclass
class _Module:
    tables: dict[str, _Table] = field(default_factory=dict)
    short_registers: int = 0


def instances(design: Mapping[str, dict], top: str) -> Counter:
    """How often each module of a netlist is there, the top once.

    Args:
        design: Yosys' ``modules``.
        top: attribute "top" is not used, so that any module can be asked about.
    Source: own (counts)
    """
    inner: dict[str, Counter] = {}
    for name, module in design.items():
        if not {"blackbox", "whitebox"} & module["attributes"].keys():
            inner[name] = Counter(cell["type"] for cell in module["cells"].values())
    found: Counter = Counter()

    def walk(name: str, times: int) -> None:
        found[name] += times
        for kind, count in inner[name].items():
            if kind in inner:
                walk(kind, times * count)

    walk(top, 1)
    return found


def sites(module: Mapping, aggressive: bool = False) -> int:
    """Sites that the tables of one module take, shift registers among them (see the module's text).

    Args:
        module: of Yosys' netlist; what it contains of other modules is not counted.
        aggressive: else *fair*.
    Source: own (packing)
    """
    read = _read(module["cells"])
    tables = read.tables
    alone = set(tables)
    pairs = 0
    for name, table in tables.items():
        partner = table.beside
        if table.drives_s and partner in alone and name in alone and _fit(table, tables[partner]):
            alone -= {name, partner}
            pairs += 1
    free = {name: table for name, table in tables.items() if name in alone and (aggressive or not table.drives_s)}
    rest = _pair_sharing(free)
    pairs += (len(free) - len(rest)) // 2
    if aggressive:
        pairs += _pair_any([tables[name] for name in rest])
    memory = sum(_memory(module["cells"]).values())
    return len(tables) - pairs + memory - (read.short_registers // 2 if aggressive else 0)


def memory_sites(module: Mapping) -> int:
    """Tables of one module that are used as memory, a shift register counting one.

    Source: own (counts)
    """
    return sum(_memory(module["cells"]).values())


def carry_blocks(module: Mapping) -> int:
    """Blocks of eight bits (CARRY8) that the chains of CARRY4 of one module take, each chain beginning with a new one.

    Source: own (counts)
    """
    chains = {name: cell["connections"] for name, cell in module["cells"].items() if cell["type"] == "CARRY4"}
    last = {wires["CO"][3]: name for name, wires in chains.items()}
    after = {last[wires["CI"][0]]: name for name, wires in chains.items() if wires["CI"][0] in last}
    blocks = 0
    for name in chains.keys() - set(after.values()):
        length, following = 1, after.get(name)
        while following is not None:
            length, following = length + 1, after.get(following)
        blocks += (length + 1) // 2
    return blocks


def levels(module: Mapping) -> dict[str, int]:
    """How many levels of logic lie before each register: by its name in the source, the longest way to any of its bits.

    A table, an inverter, a multiplexer and a multiplier count one each, and so does a whole carry chain.

    Args:
        module: flat.
    Source: own (longest path)
    """
    cells = {name: cell for name, cell in module["cells"].items() if cell["type"] != "$scopeinfo"}
    registers = {n for n, cell in cells.items() if cell["type"].startswith("FD") or cell["type"] in SHIFT_REGISTERS}
    driver = {bit: name for name, cell in cells.items() for pin, bit in _pins(cell, "output")}
    before: dict[str, dict[str, int]] = {}  # gates that drive this one, and the level that it adds to theirs
    for name, cell in cells.items():
        before[name] = {}
        for pin, bit in _pins(cell, "input"):
            other = driver.get(bit)
            if other is not None and other not in registers:
                chain = pin == "CI" and cells[other]["type"] == "CARRY4"
                before[name][other] = max(before[name].get(other, 0), 0 if chain or name in registers else 1)
    level: dict[str, int] = {}
    for start in cells:
        stack = [start]
        while stack:
            name = stack[-1]
            waiting = [other for other in before[name] if other not in level]
            if name not in level and not waiting:
                own = 0 if name in registers else 1
                level[name] = max([level[other] + add for other, add in before[name].items()], default=own)
            stack = stack + waiting if waiting and name not in level else stack[:-1]
    names: dict[object, str] = {}
    for wire, net in sorted(module["netnames"].items(), key=lambda item: -len(item[0])):
        if not net["hide_name"]:
            names |= dict.fromkeys(net["bits"], wire)
    found: dict[str, int] = {}
    for name in registers:
        wire = names.get(cells[name]["connections"]["Q"][0])
        if wire is not None:
            found[wire] = max(found.get(wire, 0), level[name])
    return found


def _pins(cell: Mapping, direction: str) -> list[tuple[str, int]]:
    """(pin, wire) of all inputs or outputs of a cell, constants left out."""
    return [
        (pin, bit)
        for pin, bits in cell["connections"].items()
        if cell["port_directions"][pin] == direction
        for bit in bits
        if not isinstance(bit, str)
    ]


def _memory(cells: Mapping[str, dict]) -> dict[str, int]:
    counts = Counter(cell["type"] for cell in cells.values())
    return {kind: counts[kind] * luts for kind, luts in MEMORY_LUTS.items()}


def _read(cells: Mapping[str, dict]) -> _Module:
    """The tables of a module: their inputs without constants, and which belong to carry blocks."""
    found = _Module(short_registers=sum(cell["type"] == "SRL16E" for cell in cells.values()))
    kinds_reading: dict[object, set[str]] = defaultdict(set)
    for cell in cells.values():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    kinds_reading[bit].add(cell["type"])
    inverted, makes = {}, {}
    for name, cell in cells.items():
        wires = cell["connections"]
        if cell["type"] == "INV":
            absorbed = kinds_reading[wires["O"][0]] and kinds_reading[wires["O"][0]] <= set(TABLES)
            if absorbed:
                inverted[wires["O"][0]] = wires["I"][0]
            else:
                found.tables[name] = _Table(frozenset(wires["I"]))
                makes[wires["O"][0]] = name
        elif cell["type"] in TABLES:
            makes[wires["O"][0]] = name
    for name, cell in cells.items():
        if cell["type"] in TABLES:
            bits = [cell["connections"][f"I{i}"][0] for i in range(int(cell["type"][3]))]
            found.tables[name] = _Table(frozenset(inverted.get(bit, bit) for bit in bits if not isinstance(bit, str)))
    for cell in cells.values():
        if cell["type"] == "CARRY4":
            for given, chosen in zip(cell["connections"]["DI"], cell["connections"]["S"], strict=True):
                if chosen in makes:
                    found.tables[makes[chosen]].drives_s = True
                    found.tables[makes[chosen]].beside = makes.get(given, "")
    return found


def _fit(one: _Table, other: _Table) -> bool:
    return len(one.inputs | other.inputs) <= 5 and not (one.drives_s and other.drives_s)


def _pair_sharing(tables: Mapping[str, _Table]) -> list[str]:
    """Pair tables that have an input in common, those with many inputs first; the names of those left over."""
    reading: dict[object, list[str]] = defaultdict(list)
    for name, table in tables.items():
        for bit in table.inputs:
            reading[bit].append(name)
    left = dict.fromkeys(sorted(tables, key=lambda name: -len(tables[name].inputs)))
    rest = []
    while left:
        name = next(iter(left))
        del left[name]
        table, best, partner = tables[name], (False, 0, 0), None
        for bit in sorted(table.inputs, key=lambda bit: len(reading[bit])):
            near = [other for other in reading[bit] if other in left][:_NEAR]
            for other in near:
                if _fit(table, tables[other]):
                    # One that drives S is hardest to place, then the one with most inputs in common, then the larger.
                    common = len(table.inputs & tables[other].inputs)
                    rank = (tables[other].drives_s, common, len(tables[other].inputs))
                    if rank > best:
                        best, partner = rank, other
        if partner is None:
            rest.append(name)
        else:
            del left[partner]
    return rest


def _pair_any(tables: Iterable[_Table]) -> int:
    """How many pairs tables without common inputs make: the largest with the largest that still fits beside it."""
    waiting: Counter = Counter((len(table.inputs), table.drives_s) for table in tables)
    pairs = 0
    for size in range(5, -1, -1):
        for on_carry in (True, False):
            while waiting[size, on_carry]:
                waiting[size, on_carry] -= 1
                partners = [
                    (other, at) for (other, at), count in waiting.items()
                    if count and other + size <= 5 and not (at and on_carry)
                ]  # fmt: skip
                if partners:
                    waiting[max(partners)] -= 1
                    pairs += 1
    return pairs
