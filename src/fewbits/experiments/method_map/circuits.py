"""What one product costs in an FPGA: circuits with 32 products of few bits and their sum, synthesized with Yosys.

Every unit is made of look-up tables alone (no multiplier blocks), so that one number says what it takes: tables per
product, with its share of the adders after it.
"""

from collections.abc import Mapping, Sequence

from fewbits.fpga.synthesis import Synthesis, synthesize

PRODUCTS = 32  # in one circuit
# What `KIND` means in few_bit_dot.v.
KINDS = {"sign by sign": 0, "sign": 1, "ternary": 2, "power of two": 3, "integer": 4, "codebook": 5, "choice": 6}


def _unit(kind: str, weight_bits: int, activation_bits: int = 8, **parameters: int) -> dict[str, int]:
    return {"KIND": KINDS[kind], "W": weight_bits, "A": activation_bits, "N": PRODUCTS} | parameters


# By name: weight × activation. None is the circuit of floating point.
UNITS: dict[str, dict[str, int] | None] = {
    "float × float": None,
    **{f"{bits} bits × 8 bits": _unit("integer", bits) for bits in range(2, 9)},
    "4 bits × 4 bits": _unit("integer", 4, 4),
    "3 bits × 3 bits": _unit("integer", 3, 3),
    "2 bits × 2 bits": _unit("integer", 2, 2),
    "sign × 8 bits": _unit("sign", 1),
    "sign × 2 bits": _unit("sign", 1, 2),
    "sign × sign": _unit("sign by sign", 1, 1),
    "ternary × 8 bits": _unit("ternary", 2),
    "ternary × 2 bits": _unit("ternary", 2, 2),
    "0 or 1 × 8 bits": _unit("choice", 1),
    "INQ × 8 bits": _unit("power of two", 5, EXPONENTS=8),
    "log 4 bits × 8 bits": _unit("power of two", 4, EXPONENTS=7),
    "codebook of 16 × 8 bits": _unit("codebook", 4),
}


def synthesize_unit(name: str, dsp: bool = False) -> Synthesis:
    """The circuit of one unit; that of floating point keeps its hierarchy.

    Args:
        name: a key of `UNITS`.
        dsp: multiplier blocks are allowed.
    Raises:
        ValueError: there is no such unit.
    """
    if name not in UNITS:
        raise ValueError(f"unknown unit {name!r}; there are {list(UNITS)}")
    parameters = UNITS[name]
    if parameters is None:
        return synthesize("float_dot", {"N": PRODUCTS}, flatten=False, dsp=dsp)
    return synthesize("few_bit_dot", parameters, dsp=dsp)


def mean_cost(units: Sequence[Mapping[str, float]], macs: Sequence[int], tables: Mapping[str, float]) -> float:
    """Tables per product of a whole network: the mean over its layers, each weighted with its multiply-accumulates.

    Args:
        units: by layer, how many of the units ``name`` one product takes (a mean over filters may be a fraction).
        macs: by layer.
        tables: look-up tables per product, by name of the unit.
    """
    layers = [sum(count * tables[name] for name, count in layer.items()) for layer in units]
    return sum(cost * work for cost, work in zip(layers, macs, strict=True)) / sum(macs)
