"""What the experiment ``integer`` measures of one network: accuracy, differences and their causes, other runtimes."""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.data import Dataset
from fewbits.experiments.integer.networks import CALIBRATION_IMAGES, predictions
from fewbits.experiments.integer.short_sums import with_short_sums
from fewbits.integer import IntegerNetwork, compile_network, decoded, prepare, run, session, to_integers, to_onnx
from fewbits.integer.requantization import ROUNDINGS
from fewbits.integer.steps import Add, Flatten, GlobalAverage, Layer, MaxPool, Pad
from fewbits.training import save_model

CAUSE_IMAGES = 200
BOOTSTRAPS = 2000
# Name -> form of the file, and settings of the session.
RUNTIMES = {
    "QOperator": ("qoperator", {}),
    "QDQ": ("qdq", {}),
    "QDQ, simulated": ("qdq", {"fuse": False}),
}


def differences(first: Tensor, second: Tensor) -> dict[str, int]:
    """How many elements differ, of how many, and by how much at most."""
    off = (first.int() - second.int()).abs()
    return {"off": int((off > 0).sum()), "elements": off.numel(), "largest": int(off.max())}


def outputs(network: IntegerNetwork, images: Tensor) -> Tensor:
    """Output codes of real images, (N, classes)."""
    codes, fast = network.grids["input"].encode(images), compile_network(network)
    return torch.cat([fast(part) for part in codes.split(500)])


@torch.no_grad()
def accuracies(model: nn.Module, data: Dataset, bits: tuple[int, int]) -> dict:
    """Accuracy in percent in floating point, simulated and in integers, and the differences of the last two."""
    prepared = prepare(model, data.train_images[:CALIBRATION_IMAGES], *bits)
    network = to_integers(prepared, data.test_images[:1])
    real = torch.cat([prepared(part) for part in data.test_images.split(500)])
    whole = outputs(network, data.test_images)
    labels = data.test_labels
    right = {"float": predictions(model, data.test_images) == labels}
    right |= {"simulated": real.argmax(1) == labels, "integer": whole.argmax(1) == labels}
    row = {name: 100 * int(value.sum()) / len(labels) for name, value in right.items()}
    row["images"] = len(labels)
    row |= dict(zip(("low", "high"), bootstrap(right["integer"], right["simulated"]), strict=True))
    row["changed"] = int((real.argmax(1) != whole.argmax(1)).sum())
    return row | differences(whole, network.output_grid.encode(real)) | sizes(model, network)


def bootstrap(first: Tensor, second: Tensor) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies in points, over resampled test images."""
    change = (first.float() - second.float()).numpy()
    drawn = np.random.default_rng(0).integers(0, len(change), (BOOTSTRAPS, len(change)))
    low, high = np.percentile(100 * change[drawn].mean(axis=1), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def sizes(model: nn.Module, network: IntegerNetwork) -> dict[str, int]:
    """Bytes on disk, and bits that the numbers alone take."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("float", "integer")]
        save_model(model, paths[0])
        network.save(paths[1])
        float_bytes, integer_bytes = (path.stat().st_size for path in paths)
    numbers = sum(parameter.numel() for parameter in model.state_dict().values())
    return {
        "float_bytes": float_bytes,
        "integer_bytes": integer_bytes,
        "float_bits": 32 * numbers,
        "integer_bits": network.stored_bits(),
    }


@torch.no_grad()
def biases(model: nn.Module, data: Dataset, bits: tuple[int, int]) -> list[dict]:
    """Output codes that differ from the simulation's, with biases in steps that are finer and finer."""
    prepared = prepare(model, data.train_images[:CALIBRATION_IMAGES], *bits).double()
    images = data.test_images.double()
    real = torch.cat([prepared(part) for part in images.split(500)])
    rows = []
    for fraction in (0, 4, 8):
        network = to_integers(prepared, images[:1], bias_fraction=fraction)
        whole = outputs(network, images)
        right = {"simulated": real.argmax(1) == data.test_labels, "integer": whole.argmax(1) == data.test_labels}
        row = {name: 100 * int(value.sum()) / len(images) for name, value in right.items()}
        rows.append({"bias_fraction": fraction} | row | differences(whole, network.output_grid.encode(real)))
    return rows


@torch.no_grad()
def causes(model: nn.Module, data: Dataset) -> list[dict]:
    """Step by step, all with the same input codes: which rounding moves how many output codes.

    The truth to compare with is the integer step with ties to even. ``exact`` redoes it in float64 with the numbers
    that the integers mean, so nothing but M0 is rounded. Every other cause changes one thing.
    """
    calibration, images = data.train_images[:CALIBRATION_IMAGES].double(), data.test_images[:CAUSE_IMAGES].double()
    prepared = prepare(model, calibration.float()).double()
    networks = {rule: to_integers(prepared, images[:1], rule) for rule in ROUNDINGS}
    network = networks["even"]
    values = network.trace(network.grids["input"].encode(images))
    exact, single = decoded(prepared, network), decoded(prepared, network).float()
    rows = []
    for name, step in network.steps.items():
        if not isinstance(step, Layer | Add | GlobalAverage):
            continue
        inputs = [values[source] for source in network.inputs[name]]
        found = {"exact": in_reals(network, exact, name, torch.float64)}
        found["float32 sums"] = in_reals(network, single, name, torch.float32)
        if isinstance(step, Layer):
            found["real biases"] = in_reals(network, prepared, name, torch.float64)
        found = {cause: compute(inputs) for cause, compute in found.items()}
        found |= {f"ties: {rule}": networks[rule].steps[name](*inputs) for rule in ROUNDINGS if rule != "even"}
        where = {"step": name, "kind": type(step).__name__}
        rows += [where | {"cause": cause} | differences(codes, values[name]) for cause, codes in found.items()]
    return rows


def in_reals(network: IntegerNetwork, model: nn.Module, name: str, dtype: torch.dtype):
    """One step as a simulation computes it: codes to reals, the operation in ``dtype``, reals to codes."""
    step, grid = network.steps[name], network.grids[name]
    if isinstance(step, MaxPool | Pad | Flatten):
        raise ValueError(f"step {name!r} is a {type(step).__name__}, which computes no real number")
    grids = [network.grids[source] for source in network.inputs[name]]

    def compute(inputs: list[Tensor]) -> Tensor:
        reals = [grid_in.decode(codes).to(dtype) for grid_in, codes in zip(grids, inputs, strict=True)]
        if isinstance(step, Layer):
            result = model.get_submodule(name)(reals[0])
        else:
            result = reals[0] + reals[1] if isinstance(step, Add) else reals[0].mean((2, 3), keepdim=True)
        codes = torch.round(result / grid.scale) + grid.zero_point
        return codes.clamp(step.output.q_min, step.output.q_max).to(grid.dtype)

    return compute


def runtimes(model: nn.Module, calibration: Tensor, images: Tensor) -> list[dict]:
    """Our integers against ONNX Runtime: integer operators, QDQ fused and literally; and against sums of 16 bits.

    The last are computed here, pair by pair, so that they do not depend on the processor.
    """
    network = to_integers(prepare(copy.deepcopy(model), calibration), images[:1])
    ours, codes = outputs(network, images), network.grids["input"].encode(images)
    found = {form: run(session(to_onnx(network, file), **more), codes) for form, (file, more) in RUNTIMES.items()}
    found["16-bit sums"] = outputs(with_short_sums(network), images)
    rows = []
    for form, theirs in found.items():
        row = {"form": form, "images": len(images)} | differences(theirs, ours)
        rows.append(row | {"changed": int((theirs.argmax(1) != ours.argmax(1)).sum())})
    return rows


def single_steps(model: nn.Module, calibration: Tensor, images: Tensor) -> list[dict]:
    """ONNX Runtime's integer operators one by one, each on our own codes: nothing adds up from step to step.

    Steps with two inputs, max-pool and flatten are left out.
    """
    network = to_integers(prepare(model, calibration), images[:1])
    values = network.trace(network.grids["input"].encode(images))
    rows = []
    for name, step in network.steps.items():
        if not isinstance(step, Layer | GlobalAverage):
            continue
        (source,) = network.inputs[name]
        grids = {"input": network.grids[source], name: network.grids[name]}
        shape = tuple(values[source].shape[1:])
        alone = IntegerNetwork({name: step}, {name: ("input",)}, grids, network.weight_scales, shape)
        theirs = run(session(to_onnx(alone, "qoperator")), values[source])
        rows.append({"step": name, "kind": type(step).__name__} | differences(theirs, values[name]))
    return rows
