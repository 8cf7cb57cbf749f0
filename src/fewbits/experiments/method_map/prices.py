"""What the map on images counts beside accuracy and bits: constant weights, multiplier blocks, energy, time on a CPU.

* **Constant weights.** Of each layer the first 8 filters and 32 of their inputs become wires and adders
  (:func:`fewbits.fpga.adder_graph.adder_graph`, sums shared); look-up tables are counted by hand. Weights that are no
  multiples of one number (a codebook) are rounded to 8 bits. Scales are not counted, as nowhere on the map.
* **Multiplier blocks.** The circuits of the map once more, with blocks allowed: Yosys takes one where it can.
* **Energy.** Figures for 45 nm (horowitz2014), scaled: an addition of n bits takes n / 32 of one of 32 bits, a product
  of n and m bits n m / 64 of one of 8 by 8, and a shift as much as an addition. A sum has 5 bits more than its
  products, as in the circuits. Reading memory is not counted.
* **Time.** Milliseconds of all convolutions and of the linear layer for one image on one thread, by the fastest kernel
  of the book that computes them exactly, and otherwise by PyTorch's in float32.
"""

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewbits import evidence
from fewbits.bitwise.conv import conv3x3, prepare_conv
from fewbits.bitwise.pack import bit_planes, sign_words, threshold_words
from fewbits.bn_folding import fold_model
from fewbits.core.codes import StoredForm
from fewbits.core.float_codes import FloatCodes
from fewbits.core.macs import LayerWork, layer_work
from fewbits.core.quantizer import LinearOrConv, encode_weights, weight_layers
from fewbits.experiments.bitwise.turns import Call, in_turns, speedups
from fewbits.experiments.common import merge_rows, recorded
from fewbits.experiments.method_map.circuits import PRODUCTS, UNITS, synthesize_unit
from fewbits.fpga.adder_graph import adder_graph, lookup_tables
from fewbits.integer import compile_network, prepare, to_integers

FILTERS = 8  # of a layer, as constants; each with `PRODUCTS` of its inputs
FIXED = 127  # largest integer of weights that are rounded
# Picojoules at 45 nm. horowitz2014 Fig. 1.1.9
ADD_32, MULTIPLY_8, ADD_FLOAT, MULTIPLY_FLOAT = 0.1, 0.2, 0.9, 3.7
CARRIES = 5  # bits that a sum of 32 products has more than one of them

Units = Mapping[str, float]


# --- Constant weights -------------------------------------------------------------------------------------------------


def whole_numbers(codes: StoredForm) -> Tensor:
    """Integers that the weights are multiples of, each filter or block up to its scale: (rows, inputs) int64.

    Three values whose magnitudes differ, as TTQ has them, become two rows of 0 and 1, the positive ones first.
    """
    values = codes.values.flatten(1).long()
    if codes.levels is None:
        zero = 0 if codes.zero_point is None else codes.zero_point.flatten(1).long()
        return values - zero
    levels = codes.levels.double()
    levels = torch.where(levels.isfinite(), levels, 0.0)
    magnitudes = levels[levels != 0].abs()
    if len(magnitudes) == 2 and magnitudes[0] != magnitudes[1]:
        return torch.cat([levels[values] > 0, levels[values] < 0]).long()
    multiples = levels / magnitudes.min()
    if not torch.equal(multiples, multiples.round()):
        multiples = (levels / magnitudes.max() * FIXED).round()
    return multiples.long()[values]


def constants(codes: StoredForm) -> np.ndarray:
    """The sample of a layer that becomes wires: rows of at most `PRODUCTS` integers. A block that ends earlier ends its
    row: its scale comes before the next sum."""
    rows = whole_numbers(codes)
    rows = torch.cat([part[:FILTERS, :PRODUCTS] for part in rows.split(len(codes.values))])
    if isinstance(codes, FloatCodes) and 0 < codes.block < rows.shape[1]:
        blocks = torch.arange(rows.shape[1]) // codes.block
        rows = torch.cat([rows * (blocks == block) for block in blocks.unique()])
    return rows.numpy()


def activation_bits(units: Units) -> int:
    """Of the activations that a unit multiplies."""
    (bits,) = {name.split(" × ")[1] for name in units}
    return 1 if bits == "sign" else int(bits.removesuffix(" bits").removesuffix(" bit"))


def constant_tables(model: nn.Module, units: Sequence[Units], works: Sequence[LayerWork]) -> float | None:
    """Look-up tables of a product with a constant weight, the mean over the network's products.

    Args:
        model: all of its weights have codes; else None.
        units: by layer, as on the map.
        works: by layer.
    """
    codes, layers = encode_weights(model), list(weight_layers(model))
    if not units or set(layers) - set(codes):
        return None
    total = 0.0
    for layer, unit, work in zip(layers, units, works, strict=True):
        rows = constants(codes[layer])
        products = min(FILTERS, len(codes[layer].values)) * rows.shape[1]
        # One bit more: the inputs of the graph are signed.
        total += work.macs * lookup_tables(adder_graph(rows), activation_bits(unit) + 1) / products
    return total / sum(work.macs for work in works)


# --- Multiplier blocks and energy -------------------------------------------------------------------------------------


def synthesize_with_blocks(command: str) -> None:
    """Write ``method_map_blocks.csv``: multiplier blocks and tables of each circuit, where blocks are allowed."""
    for name in UNITS:
        if (recorded("method_map_blocks", ["unit"])["unit"] == name).any():
            continue
        begun = time.perf_counter()
        found = synthesize_unit(name, dsp=True)
        row = {"unit": name, "DSP": found.dsps, "LUT": found.luts}
        print(row, flush=True)
        new = evidence.stamped(pd.DataFrame([row]), command, time.perf_counter() - begun)
        merge_rows("method_map_blocks", new, ["unit"])


def picojoules(unit: str) -> float:
    """Energy of one product and of its addition.

    Raises:
        ValueError: there is no such unit.
    """
    if unit == "float × float":
        return MULTIPLY_FLOAT + ADD_FLOAT
    if unit in ("MXFP4 × 8 bits", "NVFP4 × 8 bits"):  # two bits of significand, a shift by the exponent
        bits = 8 + 5
        return MULTIPLY_8 * 2 * 8 / 64 + (bits + bits + CARRIES) * ADD_32 / 32
    parameters = UNITS.get(unit)
    if parameters is None:
        raise ValueError(f"unknown unit {unit!r}")
    kind, weight, activation = (parameters[name] for name in ("KIND", "W", "A"))
    shifts = parameters.get("EXPONENTS", 0)
    # As in few_bit_dot.v. A codebook holds numbers of 8 bits.
    factor = {4: weight, 5: 8}.get(kind, 0)
    bits = activation + (shifts or factor or 1)
    product = MULTIPLY_8 * factor * activation / 64 + (bits if shifts else 0) * ADD_32 / 32
    return product + (bits + CARRIES) * ADD_32 / 32


# --- Time on a CPU ----------------------------------------------------------------------------------------------------

KERNELS = ("float32", "bytes", "signs", "signs by 2 bits")


def kernel_of(unit: str) -> str:
    """The kernel that multiplies so: bytes hold every integer of up to 8 bits."""
    if unit in ("sign × sign", "sign × 2 bits"):
        return {"sign × sign": "signs", "sign × 2 bits": "signs by 2 bits"}[unit]
    # Up to 2^6 beside a sign fits a byte; INQ's 2^7 does not.
    whole = unit.endswith("bits") and unit.split(" × ")[0] not in ("INQ", "codebook of 16", "MXFP4", "NVFP4")
    return "bytes" if whole else "float32"


def milliseconds(units: Sequence[Units], times: pd.DataFrame) -> float:
    """Of one image: the products of all layers.

    Args:
        units: by layer, in the order of the network.
        times: a row for each layer and kernel: ``layer`` (its number), ``kernel``, ``ms``. A kernel that a layer has
            not is replaced by bytes.
    """
    table = times.pivot(index="layer", columns="kernel", values="ms")
    total = 0.0
    for layer, unit in enumerate(units):
        # Filters of different widths share the kernel of bytes, so that shares add up to 1; TTQ has two products.
        for name, count in unit.items():
            ms = table.loc[layer, kernel_of(name)]
            total += count * (table.loc[layer, "bytes"] if math.isnan(ms) else ms)
    return total


def race(model: nn.Module, images: Tensor, rounds: int) -> list[dict]:
    """Rows of ``method_map_times.csv``: every layer of ``model`` by every kernel that fits it, in turns.

    Args:
        model: a VGG network in float, in evaluation mode.
        images: (N, C, H, W); ranges come from all of them, and the first is what is computed.
        rounds: of turns.
    """
    network = to_integers(prepare(fold_model(model), images), images[:1])
    fast, codes = compile_network(network), network.grids["input"].encode(images[:1])
    values = {"input": codes.permute(0, 2, 3, 1).contiguous().numpy().astype(np.uint8)}
    steps = {}
    for name, compute in fast.computes.items():
        inputs = [values[source] for source in network.inputs[name]]
        values[name] = compute(*inputs)
        if fast.kernels[name] == "products":
            steps[name] = compute, inputs
    rows = []
    for number, (layer, step) in enumerate(zip(weight_layers(model).values(), steps.values(), strict=True)):
        compute, inputs = step
        calls: dict[str, Call] = {"float32": _in_float(layer, inputs[0]), "bytes": partial(compute, *inputs)}
        if isinstance(layer, nn.Conv2d) and number:
            calls |= {"signs": _of_planes(layer, inputs[0], 1), "signs by 2 bits": _of_planes(layer, inputs[0], 2)}
        times = in_turns(calls, rounds)
        for kernel, ratios in speedups(times).items():
            ms = 1e3 * float(np.median(times[kernel].wall))
            rows.append({"layer": number, "kernel": kernel, "ms": ms} | ratios)
    return rows


def _in_float(layer: LinearOrConv, codes: np.ndarray) -> Call:
    """PyTorch's layer in float32, on numbers of the codes' shape, channels last."""
    x = torch.from_numpy(codes).float()
    if isinstance(layer, nn.Linear):
        weight = layer.weight.detach()
        return lambda: F.linear(x, weight)
    x = x.permute(0, 3, 1, 2)
    weight = layer.weight.detach().to(memory_format=torch.channels_last)
    return lambda: F.conv2d(x, weight, None, layer.stride, layer.padding)


def _of_planes(layer: nn.Conv2d, codes: np.ndarray, bits: int) -> Call:
    """Convolutions of so many packed planes with signs, added up, and the packed outputs of thresholds."""
    channels, filters = codes.shape[3], layer.out_channels
    signs = layer.weight.detach().permute(0, 2, 3, 1).contiguous().numpy()
    weights = prepare_conv(sign_words(signs), channels)
    planes = bit_planes(codes >> (8 - bits), bits)
    limits = np.zeros(filters, np.int32)

    def call() -> np.ndarray:
        sums = conv3x3(planes[0], weights)
        for bit, plane in enumerate(planes[1:], 1):
            sums += conv3x3(plane, weights) << bit
        return threshold_words(sums.reshape(-1, filters), limits)

    return call


def works_of(model: nn.Module, shape: Sequence[int]) -> list[LayerWork]:
    """The work of each layer with weights, in their order."""
    by_name = {work.name: work for work in layer_work(model, tuple(shape))}
    return [by_name[name] for name in weight_layers(model)]
