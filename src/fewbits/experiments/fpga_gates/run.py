"""Resources of a separable convolution on the FPGA of the ZCU102: shifts against multipliers.

Table 2 of Yokota et al. (2024). Circuits of ``fewbits.fpga`` are synthesized with Yosys: processing elements, columns
of 32 multipliers, and whole layers with 1,312 that hold their weights and biases in registers. A circuit whose row is
recorded is not synthesized again, so the run can be stopped at any time; ``--again`` does those of ``--circuit`` once
more. Then two tables beside it: adders of a layer whose weights are wires, for INQ and for uniform weights, with the
accuracy of the network on CIFAR-100; and clocks after place and route.

Written are ``data/results/fpga_gates_resources.csv``, ``…_adders.csv``, ``…_timing.csv`` and the claims,
``fpga_gates.json``.
"""

import copy
import time

import numpy as np
import pandas as pd
import torch
from torch import nn

from fewbits import evidence
from fewbits.core import container
from fewbits.experiments.common import checkpoint_path, codes_path, merge_rows, recorded
from fewbits.experiments.fpga_gates.claims import make_claims
from fewbits.experiments.mobileone.cifar100 import cifar100, predict
from fewbits.fpga.adder_graph import adder_graph, verilog
from fewbits.fpga.place import place
from fewbits.fpga.synthesis import WIDE, hard_wired, rtl, synthesize
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.training import load_model

COLUMNS = [
    *("circuit", "design", "multipliers", "LUT", "fair_LUT", "aggressive_LUT"),
    *("LUTRAM", "FF", "DSP", "CARRY8", "seconds"),
]
FLOAT = {"FLOAT": 1, "SOFT": 52}  # the ZCU102 has DSPs for 1,260 multipliers of 1,312
TABLES = ("resources", "adders", "timing")
WIDTHS = (8, 16, 24, 32)
# Two other ways to write a line of shift_multiply.v: each computes the same. One lists the eight shifts and lets the
# tool choose among them; one makes both s and -s, and chooses.
_CASES = "\n".join(f"            {e}: moved = largest >>> {8 - e};" for e in range(1, 9))
REWRITTEN = {
    "shift, list of cases": (
        "wire signed [WIDTH-1:0] moved = largest >>> distance;",
        f"""reg signed [WIDTH-1:0] moved;
    always @(*)
        case (exponent)
{_CASES}
            default: moved = 0;
        endcase""",
    ),
    "shift, negation by choice": ("flipped + negative", "negative ? -shifted : shifted"),
}
LAYER = {"flatten": False}
ADDERS = ["form", "seed", "nonzero", "adders", "shared", "depth", "accuracy", "LUT", "shared_LUT"]
SEEDS = (0, 1, 2)
VARIANT = "mean-only+aligned+distilled"  # of INQ: the recipe of which three networks are stored
WIRED = "features.4.weight"  # the first layer that mixes channels, 32 to 32
WIRED_BITS = 16  # of an input
CLOCKS = ["circuit", "design", "seed", "MHz", "levels", "tables", "FF", "DSP", "seconds"]
# circuit, design, module, its parameters, seeds of the placement
PLACED = [
    ("PE", "shift", "shift_pe", {}, (1, 2, 3)),
    ("PE", "fixed", "fixed_pe", {}, (1, 2, 3)),
    ("PE", "float", "float_pe", {}, (1, 2, 3)),
    ("PE", "float, truncating", "truncating_pe", {}, (1, 2, 3)),
    ("dot product of 8", "shift", "dot", {"N": 8}, (1,)),
]
# Elements have INQ's 8 exponents; WIDE ones take all 15 that a field of 5 bits has.
# circuit, design, multipliers, module, its parameters, options of `synthesize`
CIRCUITS = [
    ("PE", "shift", 1, "shift_pe", {}, {}),
    ("PE", "shift, 15 exponents", 1, "shift_pe", WIDE, {}),
    ("PE", "shift, saturating", 1, "shift_pe", {"SATURATE": 1}, {}),
    ("PE", "fixed", 1, "fixed_pe", {}, {}),
    ("PE", "fixed, no DSP", 1, "fixed_pe", {}, {"dsp": False}),
    ("PE", "float", 1, "float_pe", {}, {}),
    ("PE", "float, truncating", 1, "truncating_pe", {}, {}),
    ("column", "shift", 32, "pointwise", {}, {}),
    ("column", "hard-wired", 32, "hard_wired", {}, {}),
    ("layer", "shift", 1312, "stored_layer", {}, LAYER),
    ("layer", "float", 1312, "stored_layer", FLOAT, LAYER),
    ("layer", "float, truncating", 1312, "stored_layer", FLOAT | {"KIND": 1}, LAYER),
    ("layer", "float, fused", 1312, "stored_layer", FLOAT | {"KIND": 2}, LAYER),
    ("layer", "shift, 15 exponents", 1312, "stored_layer", WIDE, LAYER),
    ("layer", "shift, list of cases", 1312, "stored_layer", {}, LAYER),
    ("layer", "shift, negation by choice", 1312, "stored_layer", {}, LAYER),
    *((f"multiplier {width}", "shift", 1, "shift_multiply", {"WIDTH": width}, {}) for width in WIDTHS),
    *(
        (
            f"multiplier {width}",
            "fixed, no DSP",
            1,
            "fixed_multiply",
            {"WIDTH": width, "FRACTION": width // 2},
            {"dsp": False},
        )
        for width in WIDTHS
    ),
]


def add_arguments(parser) -> None:
    """Options of ``python -m fewbits.experiments fpga_gates``."""
    parser.add_argument("--part", nargs="*", choices=TABLES, default=TABLES, help="which tables to complete")
    parser.add_argument("--circuit", nargs="*", default=[], help="only these: PE, column, layer, multiplier 8, …")
    parser.add_argument("--again", action="store_true", help="synthesize what is recorded too")


def run(options, command: str) -> None:
    """Synthesize what is missing, then write table and claims."""
    evidence.code_version()
    if "resources" in options.part:
        for entry in CIRCUITS:
            table = recorded("fpga_gates_resources", COLUMNS)
            there = ((table.circuit == entry[0]) & (table.design == entry[1])).any()
            if (not options.circuit or entry[0] in options.circuit) and (options.again or not there):
                count_circuit(*entry, command)
    if "adders" in options.part:
        count_adders(command)
    if "timing" in options.part:
        measure_clocks(command)
    tables = {name: recorded(f"fpga_gates_{name}", []) for name in TABLES}
    wall = float(tables["resources"]["seconds"].sum())
    evidence.record("fpga_gates", make_claims(tables), command=command, wall_s=wall)


def count_circuit(
    circuit: str, design: str, multipliers: int, top: str, parameters: dict, settings: dict, command: str
) -> None:
    """Synthesize one circuit and write its row."""
    started = time.perf_counter()
    sources = rtl()
    if design == "hard-wired":
        sources = hard_wired(trained_codes())
    elif design in REWRITTEN:
        sources = rewritten(design)
    found = synthesize(top, parameters, sources=sources, **settings)
    row = {"circuit": circuit, "design": design, "multipliers": multipliers, **found.counts()}
    row |= {"fair_LUT": found.fair_luts, "aggressive_LUT": found.aggressive_luts, "CARRY8": found.carry8}
    seconds = round(time.perf_counter() - started, 1)
    new = pd.DataFrame([row | {"seconds": seconds}])[COLUMNS]
    print(new.to_string(index=False, header=False), flush=True)
    merge_rows("fpga_gates_resources", evidence.stamped(new, command, seconds), ["circuit", "design"])


def count_adders(command: str) -> None:
    """Adders of the layer `WIRED` of the trained MobileOne as wires: a row for each form and seed that is missing."""
    for seed in SEEDS:
        network = reparameterize(MobileNetV1().eval())
        suffix = f"-{seed}" if seed else ""
        load_model(network, checkpoint_path(f"inq-mobileone-float{suffix}"))
        weights = dict(network.named_parameters())[WIRED].detach()
        inq = container.load_codes(codes_path(f"inq-mobileone-{VARIANT.replace('+', '-')}{suffix}"))[WIRED].decode()
        matrices = {"INQ": torch.round(inq / inq[inq != 0].abs().min())}
        matrices |= {f"uniform, {bits} bits": uniform_codes(weights, bits) for bits in (4, 8)}
        for form, matrix in matrices.items():
            table = recorded("fpga_gates_adders", ADDERS)
            if ((table.form == form) & (table.seed == seed)).any():
                continue
            started = time.perf_counter()
            constants = matrix.flatten(1).numpy().astype(np.int64)
            graph, alone = adder_graph(constants), adder_graph(constants, share=False)
            row = {"form": form, "seed": seed, "nonzero": int((constants != 0).sum()), "depth": graph.depth()}
            row |= {"adders": alone.count(), "shared": graph.count()}
            if form == "INQ" or seed == SEEDS[0]:
                row["accuracy"] = accuracy_of(form, seed, network)
            if form == "INQ" and seed == SEEDS[0]:
                for name, made in (("LUT", alone), ("shared_LUT", graph)):
                    row[name] = synthesize("adder_graph", sources={"graph.v": verilog(made, WIRED_BITS)}).luts
            seconds = round(time.perf_counter() - started, 1)
            print(row, flush=True)
            new = pd.DataFrame([{column: row.get(column) for column in ADDERS}])
            merge_rows("fpga_gates_adders", evidence.stamped(new, command, seconds), ["form", "seed"])


def uniform_codes(weights: torch.Tensor, bits: int) -> torch.Tensor:
    """Symmetric integers, with a scale of its own for each filter."""
    scale = weights.flatten(1).abs().amax(1) / (2 ** (bits - 1) - 1)
    return torch.round(weights / scale.reshape(-1, *[1] * (weights.ndim - 1)))


def accuracy_of(form: str, seed: int, network: nn.Module) -> float:
    """Percent of the test images of CIFAR-100: recorded for INQ, else measured with all weights uniform."""
    if form == "INQ":
        table = evidence.rows("mobileone_cifar100")
        mine = (table.network == "mobileone") & (table.form == "inq") & (table.seed == seed)
        (found,) = table[mine & (table.variant == VARIANT)].accuracy
        return float(found)
    model, bits = copy.deepcopy(network), int(form.split()[1])
    for name, weights in model.named_parameters():
        if name.endswith("weight"):
            scale = weights.detach().flatten(1).abs().amax(1) / (2 ** (bits - 1) - 1)
            weights.data = uniform_codes(weights.detach(), bits) * scale.reshape(-1, *[1] * (weights.ndim - 1))
    data = cifar100(torch.device("cpu"))
    found = predict(model, data.test_images) == data.test_labels
    return round(100 * float(found.float().mean()), 2)


def measure_clocks(command: str) -> None:
    """Place what is missing of `PLACED` and write a row for each placement."""
    for circuit, design, top, parameters, seeds in PLACED:
        table = recorded("fpga_gates_timing", CLOCKS)
        if ((table.circuit == circuit) & (table.design == design)).any():
            continue
        started = time.perf_counter()
        found = place(top, parameters, seeds=seeds)
        seconds = round(time.perf_counter() - started, 1)
        rows = [
            {"circuit": circuit, "design": design, "seed": seed, "MHz": round(one.mhz, 1), "levels": one.levels}
            | {"tables": one.cells["TRELLIS_COMB"], "FF": one.cells["TRELLIS_FF"], "DSP": one.cells["MULT18X18D"]}
            for seed, one in zip(seeds, found, strict=True)
        ]
        new = pd.DataFrame(rows).assign(seconds=seconds)[CLOCKS]
        print(new.to_string(index=False, header=False), flush=True)
        merge_rows("fpga_gates_timing", evidence.stamped(new, command, seconds), ["circuit", "design", "seed"])


def rewritten(design: str) -> dict[str, str]:
    """The circuits with one line of ``shift_multiply.v`` written as one would perhaps write it first.

    Args:
        design: key of ``REWRITTEN``.
    Raises:
        ValueError: the file no longer has the line.
    """
    sources, (line, other) = rtl(), REWRITTEN[design]
    text = sources["shift_multiply.v"]
    if line not in text:
        raise ValueError(f"shift_multiply.v no longer has {line!r}")
    return sources | {"shift_multiply.v": text.replace(line, other)}


def trained_codes(count: int = 32) -> list[int]:
    """INQ codes of a trained filter: the first ``count`` of a pointwise filter of chapter ``inq``."""
    codes = container.load_codes(codes_path("inq-small-5-bit"))["features.12.weight"]
    return codes.values.flatten()[:count].tolist()
