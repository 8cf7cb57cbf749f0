"""The data of the interactive figures, as scripts that a page can load from disk (book/_static/widgets/*.js).

    python tools/widget_data.py [few_bits_data | explorer_data | inq_run | network_159k ...]

A script assigns one JSON value to one name. `inq_run` trains a small network for a minute.
"""

import copy
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from fewbits import evidence
from fewbits.binary import XnorWeights
from fewbits.bn_folding import bn_scale_shift, fold_model
from fewbits.core.macs import layer_work
from fewbits.core.quantizer import LinearOrConv, Quantizer, quantize_weights, weight_layers
from fewbits.core.size import size_report
from fewbits.data import load
from fewbits.evidence.intervals import LEVEL
from fewbits.experiments.bn_folding import run as bn_folding
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.common import recorded as recorded_rows
from fewbits.experiments.comparison import TASKS, prepared
from fewbits.experiments.fpga_network import run as fpga_network
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.experiments.inq.run import SMALL_INQ_EPOCHS
from fewbits.experiments.inq.training import FRACTIONS, WEIGHT_DECAY, Trainer
from fewbits.experiments.method_map import images as map_images
from fewbits.experiments.method_map import methods as map_methods
from fewbits.experiments.method_map import run as map_run
from fewbits.experiments.mixed_precision import single_layers
from fewbits.experiments.ternary.run import METHODS
from fewbits.fpga.latency import accelerator_cycles
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.synthesis import ZCU102
from fewbits.inq import Inq
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import MLP
from fewbits.training import correct, load_model, percent
from fewbits.uniform import UniformQuantizer

WIDGETS = Path(__file__).resolve().parent.parent / "book" / "_static" / "widgets"
SHOWN = ("LUT", "FF", "BRAM")  # resources of the accelerator's figure
INQ_LAYER = "features.6.weight"  # the depthwise convolution of the second block: 144 weights
INQ_LR = 0.1  # at the start of each stage, as in the live run of the chapter

NEURON = 4  # of the first layer, 784 weights: the one that is shown
FEW_BITS = (32, 8, 4, 3, 2, 1)
TRAINED = {2: "exact ternary", 1: "bwn"}  # bits -> the method whose network of the same shape is stored


def few_bits_network(bits: int, trained: bool = False) -> nn.Module:
    """The perceptron of the first page, 784-128-128-128-10, in float64; ``bits`` for each weight of every layer.

    Rounded after training, the grid is uniform with a range for each neuron, and at 1 bit the sign times the mean
    magnitude of the neuron; at 32 bits nothing is rounded. Trained with 2 bits, weights are −, 0 or + a scale of the
    layer (exact ternary); with 1 bit they are the sign times a scale of the neuron (binary weights).
    """
    method = TRAINED[bits] if trained else "float"
    model = METHODS[method].build(TASKS["mnist5k"].network)
    model = load_model(model, checkpoint_path(f"ternary-{method.replace(' ', '-')}"))
    if not trained and bits < 32:
        quantize_weights(model, lambda: few_bits_quantizer(bits), skip=())
    return model.double().eval()


def few_bits_quantizer(bits: int) -> Quantizer:
    return XnorWeights() if bits == 1 else UniformQuantizer(bits, channel_axis=0)


@torch.no_grad()
def few_bits_data() -> dict[str, Any]:
    """The network of the first page with 32 to 1 bits, and ten test digits, the first of each class.

    ``weights`` are those of one neuron before any rounding. A state has the bytes of the whole network (scales, biases
    and batch normalization are among them), the number of test digits that it gets right, and its logits for the ten
    digits; those trained with few bits also have the neuron's weights, as places in a list of levels.
    """
    data = prepared("mnist5k")
    images, labels = data.test_images.double(), data.test_labels
    shown = [int((labels == digit).nonzero()[0]) for digit in range(10)]
    states = []
    for bits, trained in [*((bits, False) for bits in FEW_BITS), *((bits, True) for bits in TRAINED)]:
        model = few_bits_network(bits, trained)
        logits = [[float(f"{value:.6g}") for value in row] for row in model(images[shown]).tolist()]
        state: dict[str, Any] = {"bits": bits, "trained": trained, "bytes": size_report(model).bits // 8}
        state |= {"correct": correct(model, images, labels), "logits": logits}
        if trained:
            levels, places = first_layer(model).weight[NEURON].unique(return_inverse=True)
            state |= {"levels": levels.tolist(), "weights": "".join(map(str, places.tolist()))}
        states.append(state)
    return {
        "images": len(labels),
        "digits": [((images[i] + 1) * 127.5).round().int().flatten().tolist() for i in shown],
        "weights": numbers(first_layer(few_bits_network(32)).weight[NEURON]),
        "states": states,
    }


def first_layer(model: nn.Module) -> LinearOrConv:
    return next(iter(weight_layers(model).values()))


def explorer_data() -> dict:
    """Two weight tensors: the eight numbers of the chapter, and the last layer of its perceptron (640 weights)."""
    model = load_model(MLP((784, 128, 64, 10)), checkpoint_path("uniform-mlp"))
    layer = [parameter for parameter in model.parameters() if parameter.dim() == 2][-1]
    return {
        "trained": numbers(layer),
        "eight": [0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62],
    }


DRAGGED = 3  # of the first depthwise convolution: the channel whose factor is far above the others
FOLDING_BITS, FOLDING_POWERS = (8, 6, 4, 3), range(-3, 5)  # weight bits; powers of two that multiply the factor


def folding_network(bits: int, power: int, per_channel: bool) -> nn.Module:
    """The folded network "separable" in float64, the weights of its first depthwise convolution rounded.

    Before the rounding, gamma and beta of channel ``DRAGGED`` are multiplied by 2^``power``, and what the next layer
    does with the channel is divided by it. A ReLU passes the factor on, so the float network computes what it did.
    """
    model = load_model(bn_folding.build("separable"), checkpoint_path(bn_folding.checkpoint_name("separable")))
    model = fold_model(model.double().eval())
    layers = weight_layers(model)
    names = list(layers)
    with torch.no_grad():
        layers[names[1]].weight[DRAGGED] *= 2.0**power
        layers[names[1]].bias[DRAGGED] *= 2.0**power
        layers[names[2]].weight[:, DRAGGED] /= 2.0**power
    axis = 0 if per_channel else None
    return quantize_weights(model, lambda: UniformQuantizer(bits, channel_axis=axis), skip={*names} - {names[1]}).eval()


@torch.no_grad()
def folding_data() -> dict[str, Any]:
    """The layer before folding, the factors gamma / sigma, and test digits right with its weights rounded.

    With one scale a channel the rounded network does not depend on the power, so there is one count for each number
    of bits.
    """
    model = load_model(bn_folding.build("separable"), checkpoint_path(bn_folding.checkpoint_name("separable")))
    layer = list(weight_layers(model).values())[1]
    data = load("mnist5k")
    images, labels = data.test_images.double(), data.test_labels
    inputs = folding_network(8, 0, False)[:3](images)  # before the layer

    def right(bits: int, power: int, per_channel: bool) -> int:
        return correct(folding_network(bits, power, per_channel)[3:], inputs, labels)

    return {
        "channels": len(layer.weight),
        "dragged": DRAGGED,
        "images": len(labels),
        "weights": numbers(layer.weight),
        "factors": bn_scale_shift(model[4].double())[0].tolist(),
        "powers": list(FOLDING_POWERS),
        "bits": list(FOLDING_BITS),
        "float": correct(fold_model(model.double().eval()), images, labels),
        "tensor": {bits: [right(bits, power, False) for power in FOLDING_POWERS] for bits in FOLDING_BITS},
        "channel": {bits: right(bits, 0, True) for bits in FOLDING_BITS},
    }


COMPARISONS = (  # recipe, the method said to be better, the other, by how many points
    ("constant", "binary", "2-bit", 0.0),
    ("one-cycle", "float", "binary", 3.0),
    ("one-cycle", "float", "float, rounded to 4 bits", 0.0),
)


def seeds_data() -> dict[str, Any]:
    """Differences of accuracy within a seed, in points, of the recorded runs of chapter ``noise``; factors of t."""
    runs = evidence.rows("noise_seeds").pivot(index="seed", columns=["recipe", "method"], values="accuracy")
    found = []
    for recipe, first, second, border in COMPARISONS:
        difference = (runs[recipe, first] - runs[recipe, second]).dropna().round(1).tolist()
        found.append({"recipe": recipe, "first": first, "second": second, "border": border, "differences": difference})
    most = max(len(each["differences"]) for each in found)
    return {"t": student(most), "comparisons": found}


def map_data() -> dict[str, Any]:
    """The maps of methods that are recorded: points lost by each run, and the prices that it has."""
    runs = map_run.summary(evidence.rows("method_map_runs"), evidence.rows("method_map_units"))
    tables = {"bits_per_weight": "bits of a weight", "luts": "look-up tables of a product", "energy": "pJ of a product"}
    maps = [priced("digits, perceptron", runs, tables, map_methods.ENTRIES)]
    if len(recorded_rows(map_images.TABLE, [])):
        more = {"constant_luts": "tables of a constant product", "kilobytes": "kB of the file", "ms": "ms on a CPU"}
        entries = map_images.ENTRIES
        maps.append(priced("CIFAR-10, small VGG", map_run.on_images(), tables | more, entries))
    most = max(len(method["lost"]) for each in maps for method in each["methods"])
    return {"t": student(most), "maps": maps}


def priced(title: str, runs: pd.DataFrame, prices: Mapping[str, str], entries: Mapping[str, Any]) -> dict[str, Any]:
    """One map, of the methods with two runs or more; ``prices`` are columns of ``runs`` and their words."""
    accuracy = runs.pivot(index="seed", columns="method", values="accuracy")
    lost = accuracy.rsub(accuracy["float"], axis="index")
    means = runs.groupby("method")[list(prices)].mean()
    methods = []
    for name in (name for name in entries if name in lost and lost[name].count() > 1):
        own = not entries[name].real_activations and name != "float"
        values = {key: float(f"{value:.4g}") for key, value in means.loc[name].items() if math.isfinite(value)}
        points = [round(value, 4) for value in lost[name].dropna()]
        methods.append({"name": name, "own": own, "prices": values, "lost": points})
    return {"title": title, "prices": [[key, words] for key, words in prices.items()], "methods": methods}


def student(most: int) -> list[float]:
    """Factors of the 95 % interval of a mean of two, three, … ``most`` values."""
    return [float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) for count in range(2, most + 1)]


def inq_run() -> dict:
    """INQ at 5 bits of the folded small network, seed 0, in the stages of the experiment ``inq``; records one layer.

    ``weights`` are those of the trained network. A stage has the test accuracy after freezing, and, but for the last,
    the weights and the accuracy after training. What was frozen, and where to, follows from the weights before.
    """
    model = load_model(small_net(0), checkpoint_path("inq-small")).eval()
    model = copy.deepcopy(reparameterize(model))
    data = small_data()
    run = {"accuracy": percent(model, data)}
    schedule, trainer = Inq(model, biases=True), Trainer(data, seed=0)
    layer, _, part = schedule.parts[INQ_LAYER]
    run |= {"bits": schedule.bits, "n1": int(part.n1), "weights": numbers(layer.weight), "stages": []}
    for fraction in FRACTIONS:
        schedule.step(fraction)
        stage = {"fraction": fraction, "frozen": percent(model, data)}
        if fraction < 1:
            epochs = SMALL_INQ_EPOCHS // (len(FRACTIONS) - 1)
            trainer.train(model, "", epochs, INQ_LR, WEIGHT_DECAY, F.cross_entropy, peak=False)
            model.eval()
            stage |= {"trained": percent(model, data), "weights": numbers(layer.weight)}
        run["stages"].append(stage)
    return run


def network_159k() -> list[dict]:
    """The layers of the folded MobileNet-V1 on images of 32 × 32 pixels."""
    works = layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    keys = ("filters", "weights_per_filter", "output_positions")
    return [{"name": name_of(i, work)} | {key: getattr(work, key) for key in keys} for i, work in enumerate(works)]


def mixer_data() -> dict[str, Any]:
    """Images of CIFAR-100 that the same network gets right, recorded: in float, with one layer rounded, with all.

    ``off`` says how far the estimate from single layers is from what was measured on ``drawn`` choices of random bits,
    in points: the mean of the absolute differences.
    """
    table = evidence.rows("mixed_precision_layers")
    rows = {tuple(map(int, row.bits.split())): int(row.correct) for row in table.itertuples() if row.kind != "single"}
    exact = int(table[table.kind == "float"].correct.iloc[0])
    layers = len(table[table.kind == "float"].bits.iloc[0].split())
    alone = table[table.kind == "single"].correct.to_numpy().reshape(layers, -1).tolist()
    data = {"images": int(table.images.iloc[0]), "float": exact, "bits": list(single_layers.BITS), "single": alone}
    drawn = [tuple(map(int, bits.split())) for bits in table[table.kind == "random"].bits]
    off = [100 * abs(mixer_estimate(data, bits) - rows[bits] / data["images"]) for bits in drawn]
    measured = {" ".join(map(str, bits)): right for bits, right in rows.items() if 32 not in bits}
    return data | {"measured": measured, "drawn": len(drawn), "off": round(fmean(off), 3)}


def mixer_estimate(data: dict[str, Any], bits: Sequence[int]) -> float:
    """Share of images right: what each layer keeps of the float network's when it alone is rounded, multiplied."""
    kept = [
        counts[data["bits"].index(count)] / data["float"] for counts, count in zip(data["single"], bits, strict=True)
    ]
    return data["float"] / data["images"] * math.prod(kept)


def accelerator_data() -> dict:
    """The whole network on each array: cycles, recorded counts, and the chip."""
    table = evidence.rows("fpga_network_resources").set_index("shift_adders")
    model, codes = fpga_network.network()
    arrays = []
    for array in fpga_network.ARRAYS:
        layers = ShiftAdderNet.from_codes(model, codes, array.form).layers
        cycles = sum(layer.cycles for layer in accelerator_cycles(layers, array))
        counts = {name: int(table.loc[array.elements, name]) for name in SHOWN}
        arrays.append({"shift_adders": array.elements, "cycles": cycles, "counts": counts})
    return {"arrays": arrays, "chip": {name: ZCU102[name] for name in SHOWN}}


def name_of(index: int, work) -> str:
    """What a reader calls the layer: "conv 3×3", "depthwise 4", "pointwise 4", "linear"."""
    if work.kind == "linear":
        return "linear"
    if index == 0:
        return "conv 3×3"
    return f"{'depthwise' if index % 2 else 'pointwise'} {(index + 1) // 2}"


def numbers(tensor) -> list[float]:
    """A float32 tensor in row-major order; nine digits give each number back exactly, through ``Math.fround``."""
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


DATA = {
    "few_bits_data": few_bits_data,
    "explorer_data": explorer_data,
    "folding_data": folding_data,
    "seeds_data": seeds_data,
    "map_data": map_data,
    "inq_run": inq_run,
    "network_159k": network_159k,
    "mixer_data": mixer_data,
    "accelerator_data": accelerator_data,
}


def script(name: str, value: object) -> str:
    """The text of the script that defines ``fewbits.data.<name>``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"// Written by tools/widget_data.py.\n((globalThis.fewbits ??= {{}}).data ??= {{}}).{name} = {text};\n"


def recorded(name: str) -> object:
    """The value in the script ``<name>.js``."""
    text = (WIDGETS / f"{name}.js").read_text("utf-8")
    return json.loads(text[text.index(f".{name} = ") + len(f".{name} = ") :].rstrip().removesuffix(";"))


def main() -> None:
    for name in sys.argv[1:] or DATA:
        (WIDGETS / f"{name}.js").write_text(script(name, DATA[name]()), "utf-8")
        print(WIDGETS / f"{name}.js")


if __name__ == "__main__":
    main()
