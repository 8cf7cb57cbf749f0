"""One scale per tensor and 4 bits: a depthwise network that folding spoils, and three ways to save it."""

import copy

from torch import nn

from fewbits.bn_folding import FoldedLayer, channel_ranges, equalize, fold_in_training, fold_model, merge_folded
from fewbits.core.quantizer import weight_layers
from fewbits.data import Dataset
from fewbits.experiments.bn_folding import run as bn_folding
from fewbits.experiments.integer.networks import CALIBRATION_IMAGES
from fewbits.integer import prepare, to_integers
from fewbits.training import seed_everything, sgd, train
from fewbits.uniform import UniformQuantizer

NETWORK = "separable, strong decay"
TRAINING_EPOCHS, LR = 4, 0.001
FREEZE = {"frozen from the start": 0, "frozen halfway": TRAINING_EPOCHS // 2, "never frozen": TRAINING_EPOCHS}


def measure(seed: int, data: Dataset) -> list[dict]:
    """Accuracy of the integer network in percent, for each way and 8 and 4 weight bits; 8-bit activations."""
    model = bn_folding.train(NETWORK, seed, data).eval()
    folded = fold_model(model)
    equalized = equalize(folded)
    rows = []
    for bits in (8, 4):
        ways = {
            "per tensor": score(folded, data, bits, None),
            "per tensor, equalized": score(equalized, data, bits, None),
            "per channel": score(folded, data, bits, 0),
            "per channel, equalized": score(equalized, data, bits, 0),
        }
        rows += [{"way": way, "bits": bits, "accuracy": found} for way, found in ways.items()]
    rows += [
        {"way": name, "bits": 4, "accuracy": score(trained_folded(model, seed, data, 4, epochs), data, 4, None)}
        for name, epochs in FREEZE.items()
    ]
    spread = {"folded": width(folded), "equalized": width(equalized)}
    return [{"seed": seed} | row | {f"width_{name}": value for name, value in spread.items()} for row in rows]


def score(model: nn.Module, data: Dataset, bits: int, channel_axis: int | None) -> float:
    """Test accuracy of the integer network that ``model`` becomes, in percent."""
    prepared = prepare(model, data.train_images[:CALIBRATION_IMAGES], bits, 8, channel_axis)
    network = to_integers(prepared, data.test_images[:1])
    right = network.predict(data.test_images) == data.test_labels
    return 100 * int(right.sum()) / len(right)


def width(model: nn.Module) -> float:
    """The widest channel's range over the median channel's, in the layer where that is largest."""
    ranges = [channel_ranges(layer.weight) for layer in weight_layers(model).values()]
    return round(float(max(r.max() / r.median() for r in ranges)), 2)


def trained_folded(model: nn.Module, seed: int, data: Dataset, bits: int, free_epochs: int) -> nn.Module:
    """``model``, trained on with folded and quantized weights; the statistics are frozen after ``free_epochs``.

    The learning rate, 0.001, was chosen on seed 0. With 0.01 the frozen network diverges: a step of w is one of c w,
    multiplied by c squared, and nothing normalizes it any more.
    """
    seed_everything(seed)
    training = fold_in_training(copy.deepcopy(model), lambda: UniformQuantizer(bits)).train()
    optimizer = sgd(training, LR)
    for frozen, epochs in ((False, free_epochs), (True, TRAINING_EPOCHS - free_epochs)):
        for module in training.modules():
            if frozen and isinstance(module, FoldedLayer):
                module.freeze()
        if epochs:
            train(training, data, optimizer, epochs=epochs, seed=seed + 10 * frozen, schedule=None)
    return merge_folded(training)
