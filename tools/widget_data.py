"""The data of the interactive figures, as scripts that a page can load from disk (book/_static/widgets/*.js).

    python tools/widget_data.py [explorer_data | inq_run | network_159k ...]

A script assigns one JSON value to one name. `inq_run` trains a small network for a minute.
"""

import copy
import json
import sys
from pathlib import Path

import torch.nn.functional as F

from fewbits import evidence
from fewbits.core.macs import layer_work
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.fpga_network import run as fpga_network
from fewbits.experiments.inq.networks import small_data, small_net
from fewbits.experiments.inq.run import SMALL_INQ_EPOCHS, SMALL_INQ_LR
from fewbits.experiments.inq.training import FRACTIONS, WEIGHT_DECAY, Trainer
from fewbits.fpga.latency import accelerator_cycles
from fewbits.fpga.network import ShiftAdderNet
from fewbits.fpga.synthesis import ZCU102
from fewbits.inq import Inq
from fewbits.mobileone import MobileNetV1, reparameterize
from fewbits.nets import MLP
from fewbits.training import load_model, percent

WIDGETS = Path(__file__).resolve().parent.parent / "book" / "_static" / "widgets"
SHOWN = ("LUT", "FF", "BRAM")  # resources of the accelerator's figure
INQ_LAYER = "features.6.weight"  # the depthwise convolution of the second block: 144 weights


def explorer_data() -> dict:
    """Two weight tensors: the eight numbers of the chapter, and the last layer of its perceptron (640 weights)."""
    model = load_model(MLP((784, 128, 64, 10)), checkpoint_path("uniform-mlp"))
    layer = [parameter for parameter in model.parameters() if parameter.dim() == 2][-1]
    return {
        "trained": numbers(layer),
        "eight": [0.9, -0.5, 0.3, -0.1, 0.2, -0.7, 0.05, 0.62],
    }


def inq_run() -> dict:
    """INQ at 5 bits of the folded small network, seed 0, as the experiment ``inq`` runs it; one layer is recorded.

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
            trainer.train(model, "", epochs, SMALL_INQ_LR, WEIGHT_DECAY, F.cross_entropy, peak=False)
            model.eval()
            stage |= {"trained": percent(model, data), "weights": numbers(layer.weight)}
        run["stages"].append(stage)
    return run


def network_159k() -> list[dict]:
    """The layers of the folded MobileNet-V1 on images of 32 × 32 pixels."""
    works = layer_work(reparameterize(MobileNetV1().eval()), (3, 32, 32))
    keys = ("filters", "weights_per_filter", "output_positions")
    return [{"name": name_of(i, work)} | {key: getattr(work, key) for key in keys} for i, work in enumerate(works)]


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
    "explorer_data": explorer_data,
    "inq_run": inq_run,
    "network_159k": network_159k,
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
