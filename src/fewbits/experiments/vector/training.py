"""How the networks of the experiment ``vector`` are trained, compressed and weighed."""

import copy
import lzma
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fewbits import training
from fewbits.core import arithmetic, container, huffman
from fewbits.core.quantizer import weight_layers, weight_quantizers
from fewbits.data import Dataset
from fewbits.nets import LeNet5, lenet_300_100
from fewbits.training import adam, percent, seed_everything, step_count
from fewbits.training.recipes import Schedule
from fewbits.vector import (
    INITS,
    DeepCompression,
    MixturePrior,
    SharedWeights,
    SoftSharing,
    plain_state,
    squared_error,
)

NETWORKS = {"lenet-300-100": lenet_300_100, "lenet-5": LeNet5}
# Share of the weights that survive in each layer, as commonly reported for Deep Compression.
KEEP = {
    "lenet-300-100": {"1": 0.08, "3": 0.09, "5": 0.26},
    "lenet-5": {"0": 0.66, "2": 0.12, "5": 0.08, "7": 0.19},
}
STAGES = (1 / 3, 2 / 3, 1)  # powers of the final shares: pruning in three steps
SOFT_STAGES = {"argmax": "huffman", "arithmetic": "arithmetic"}  # after training, with the coding of their file
INIT_BITS = (2, 3, 4, 5)
HISTOGRAM = np.linspace(-1, 1, 161)


@dataclass(frozen=True)
class Recipe:
    """Epochs of each phase, and what the two methods need; everything else is the same for all networks.

    Attributes:
        train, retrain, fine_tune, soft: epochs of the float network, after each pruning, of codebooks, of soft sharing.
        soft_batch, tau: of soft weight-sharing; tau is the strength of the prior.
        soft_lrs: of the weights, of the means, and of precisions and mixing.
        soft_schedule: of these rates; None keeps them.
        soft_start: where the mixture starts: the largest mean (the smallest is minus that) and the standard deviation;
            None for the range of the weights and the distance of the means, as in the paper.
        merge: components that diverge by less become one; in nats.
        bits: of an index of Deep Compression, for all layers or by name.
        inits: whether starts of k-means are compared.
    """

    train: int
    retrain: int
    fine_tune: int
    soft: int
    soft_batch: int
    tau: float
    soft_lrs: tuple[float, float, float] = (1e-3, 1e-3, 1e-2)
    soft_schedule: Schedule | None = training.cosine
    soft_start: tuple[float, float] | None = None
    merge: float = 0.1
    bits: int | Mapping[str, int] = 5
    inits: bool = False


# On MNIST: the bits of Han et al. (2015), Tables 2 and 3; and, but for tau, the settings of the tutorial by the authors
# of soft weight-sharing, whose network resembles LeNet-5. Its rates stay as they are, and its tau is 0.003. With that,
# the mixture of LeNet-300-100 is still too wide after 30 epochs: on held-out training images rounding takes 98.3 to
# 94.3 %. With 0.01 it takes 98.0 to 97.8 % and leaves 7.3 % of the weights; with 0.02 it keeps 97.8 %, and 5.2 % of
# the weights.
AUTHORS: dict[str, Any] = {"soft": 30, "soft_batch": 256, "tau": 0.02, "soft_lrs": (5e-4, 1e-4, 3e-3)}
AUTHORS |= {"soft_schedule": None, "soft_start": (0.6, 0.25), "merge": 1e-10}
CONV_8_FC_5 = {"0": 8, "2": 8, "5": 5, "7": 5}
RECIPES = {
    ("mnist", "lenet-300-100"): Recipe(train=20, retrain=5, fine_tune=3, **AUTHORS, bits=6, inits=True),
    ("mnist", "lenet-5"): Recipe(train=5, retrain=1, fine_tune=1, **AUTHORS, bits=CONV_8_FC_5),
    ("mnist5k", "lenet-300-100"): Recipe(train=40, retrain=10, fine_tune=5, soft=40, soft_batch=128, tau=0.005),
    ("mnist5k", "lenet-5"): Recipe(train=20, retrain=5, fine_tune=3, soft=20, soft_batch=128, tau=0.005),
}


def train(
    model: nn.Module,
    data: Dataset,
    seed: int,
    epochs: int,
    lr: float = 1e-3,
    after_step: Callable[[nn.Module], object] | None = None,
) -> None:
    """Adam with L2 decay, and a learning rate that falls to 0 as a cosine. The decay kills weights of dead pixels."""
    training.train(model, data, adam(model, lr, weight_decay=1e-5), epochs=epochs, seed=seed, after_step=after_step)


def float_network(data: Dataset, network: str, seed: int) -> nn.Module:
    """A trained float network."""
    seed_everything(seed)
    model = NETWORKS[network]()
    train(model, data, seed, RECIPES[data.name, network].train)
    return model


def size(model: nn.Module, coding: str) -> int:
    """Bytes of the file of ``model``."""
    return len(container.to_bytes(plain_state(model), coding))


def sizes(model: nn.Module, coding: str) -> dict[str, int]:
    """Bytes of the file of ``model``, and of one that holds its weights only: what papers count."""
    weights = {name: tensor for name, tensor in plain_state(model).items() if tensor.dim() > 1}
    return {"bytes": size(model, coding), "weight_bytes": len(container.to_bytes(weights, coding))}


def pruned_network(model: nn.Module, data: Dataset, network: str, seed: int) -> DeepCompression:
    """Prune ``model`` in place, in steps, and retrain what is left after each."""
    compression = DeepCompression(model)
    for stage in STAGES:
        compression.prune({name: share**stage for name, share in KEEP[network].items()})
        train(model, data, seed, RECIPES[data.name, network].retrain, after_step=compression.keep_pruned)
    return compression


def fine_tune(model: nn.Module, data: Dataset, seed: int, epochs: int) -> None:
    """Train codebooks and biases."""
    train(model, data, seed, epochs, lr=2e-4)


def deep_compression(model: nn.Module, data: Dataset, network: str, seed: int) -> Iterator[tuple[dict, nn.Module]]:
    """Rows of the stages after pruning, each with the network as it is then. ``model`` is pruned and stays as it is."""
    compression = DeepCompression(copy.deepcopy(model))
    compression.prune(1.0)
    recipe = RECIPES[data.name, network]
    bits = recipe.bits if isinstance(recipe.bits, Mapping) else dict.fromkeys(compression.masks, recipe.bits)
    compression.share({name: 2**width for name, width in bits.items()})
    shared = compression.model
    yield {"stage": "shared", "accuracy": percent(shared, data), "bytes": size(shared, "shared")}, shared
    fine_tune(shared, data, seed, recipe.fine_tune)
    tuned = percent(shared, data)
    yield {"stage": "fine-tuned", "accuracy": tuned, "bytes": size(shared, "shared")}, shared
    # What counts is the network that comes out of the file.
    for coding in ("huffman", "arithmetic"):
        back = NETWORKS[network]()
        back.load_state_dict(container.from_bytes(container.to_bytes(plain_state(shared), coding)))
        yield {"stage": coding, "accuracy": percent(back, data)} | sizes(shared, coding), back


def compare_inits(model: nn.Module, data: Dataset, seed: int) -> Iterator[dict]:
    """Codebooks of 2 to 5 bits from each init and from the optimum, before and after one epoch of fine-tuning."""
    weights = {name: layer.weight.detach() for name, layer in weight_layers(model).items()}
    energy = sum(float(w.double().square().sum()) for w in weights.values())
    for bits in INIT_BITS:
        for init in (*INITS, "optimal"):
            compression = DeepCompression(copy.deepcopy(model))
            compression.share(2**bits, init, seed)
            shared = compression.model
            codebooks = {name: q for name, q, _ in weight_quantizers(shared) if isinstance(q, SharedWeights)}
            error = sum(
                (squared_error(w[w != 0], codebooks[name].centroids.detach()) for name, w in weights.items()), 0.0
            )
            row = {"init": init, "bits": bits, "error": error / energy, "before": percent(shared, data)}
            fine_tune(shared, data, seed, 1 if data.name == "mnist" else 5)
            yield row | {"after": percent(shared, data)}


def soft_sharing(
    model: nn.Module, data: Dataset, network: str, seed: int, snapshots: int = 0
) -> tuple[list[dict], pd.DataFrame, pd.DataFrame]:
    """Soft weight-sharing of the trained float ``model``, in place.

    Args:
        snapshots: how often to look at the mixture on the way, evenly spaced in steps, the start not counted.
    Returns:
        rows of the stages; the mixture (step, component, mixing, mean, std) and histograms (step, left, count).
    """
    recipe = RECIPES[data.name, network]
    sharing = SoftSharing(model, recipe.tau, len(data.train_images))
    if recipe.soft_start is not None:
        largest, std = recipe.soft_start
        sharing.prior = MixturePrior(torch.linspace(-largest, largest, len(sharing.prior.means)), std)
    steps = step_count(len(data.train_images), recipe.soft, recipe.soft_batch)
    wanted = {round(part * steps / snapshots) for part in range(snapshots + 1)} if snapshots else set()
    mixtures: list[dict[str, Any]] = []
    histograms: list[dict[str, Any]] = []
    step = 0

    def look() -> None:
        for component, values in enumerate(zip(*sharing.prior.components(), strict=True)):
            named = zip(("mixing", "mean", "std"), (float(value) for value in values), strict=True)
            mixtures.append({"step": step, "component": component} | {key: round(v, 8) for key, v in named})
        counts, _ = np.histogram(sharing.weights().detach().numpy(), HISTOGRAM)
        histograms.extend({"step": step, "left": left, "count": n} for left, n in zip(HISTOGRAM, counts, strict=False))

    def after_step(_: nn.Module) -> None:
        nonlocal step
        step += 1
        if step in wanted:
            look()

    if wanted:
        look()
    prior = sharing.prior
    groups = [
        {"params": parameters, "lr": lr}
        for parameters, lr in zip(
            (list(model.parameters()), [prior.means], [prior.log_precision, prior.logits]), recipe.soft_lrs, strict=True
        )
    ]
    optimizer = torch.optim.Adam(groups)
    settings: dict[str, Any] = {
        "epochs": recipe.soft,
        "batch_size": recipe.soft_batch,
        "loss": sharing.loss,
        "after_step": after_step,
        "schedule": recipe.soft_schedule,
    }
    training.train(model, data, optimizer, seed=seed, **settings)
    rows: list[dict[str, Any]] = [{"stage": "trained", "accuracy": percent(model, data), "bytes": size(model, "plain")}]
    components = len(sharing.quantize(recipe.merge).all_means())
    found = {"accuracy": percent(model, data), "components": components}
    rows += [{"stage": stage} | found | sizes(model, coding) for stage, coding in SOFT_STAGES.items()]
    return rows, pd.DataFrame(mixtures), pd.DataFrame(histograms)


# --- sizes -----------------------------------------------------------------------------------------------------------


def zeros(state: Mapping[str, Tensor]) -> float:
    """Share of zeros among the weights, in percent."""
    weights = [tensor for tensor in state.values() if tensor.dim() > 1]
    return 100 * sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def other_sizes(state: Mapping[str, Tensor]) -> dict[str, float]:
    """What else could be done with the same tensors, in bytes.

    * ``xz of floats``: LZMA at its strongest over the float32 numbers;
    * ``xz of indices``: over one byte per weight, its index; codebooks and biases as they are;
    * ``entropy``: what an ideal coder needs that knows each layer's share of every value, and treats the weights as
      independent; codebooks and biases as they are.
    """
    floats, indices, rest, bits = b"", b"", 0, 0.0
    for tensor in state.values():
        pattern = tensor.detach().numpy().reshape(-1).view(np.uint32)
        floats += pattern.tobytes()
        table, codes, counts = np.unique(pattern, return_inverse=True, return_counts=True)
        if tensor.dim() > 1 and len(table) <= 256:
            indices += codes.astype(np.uint8).tobytes()
            rest += 4 * len(table)
            bits += len(codes) * huffman.entropy(counts)
        else:
            rest += pattern.nbytes
    best: dict[str, Any] = {"preset": 9 | lzma.PRESET_EXTREME}
    return {
        "xz of floats": len(lzma.compress(floats, **best)),
        "xz of indices": len(lzma.compress(indices, **best)) + rest,
        "entropy": round(bits / 8 + rest, 1),
    }


def streams(state: Mapping[str, Tensor], width: int = 5) -> Iterator[dict]:
    """Entropy, and lengths of Huffman and arithmetic codes, of the two streams of each weight, in bits per symbol.

    A weight that is all zero has no symbols, and no rows.
    """
    for name, tensor in state.items():
        if tensor.dim() < 2:
            continue
        pattern = tensor.detach().numpy().reshape(-1).view(np.uint32)
        kept, gaps = container.relative_positions(pattern, width)
        if not len(kept):
            continue
        table, indices = np.unique(kept, return_inverse=True)
        for stream, symbols, alphabet in (("gaps", gaps, 1 << width), ("indices", indices, len(table))):
            counts = np.bincount(symbols)
            length = float((counts * huffman.code_lengths(counts).astype(float)).sum() / len(symbols))
            yield {
                "tensor": name,
                "stream": stream,
                "symbols": len(symbols),
                "entropy": round(huffman.entropy(counts), 6),
                "huffman": round(length, 6),
                "arithmetic": round(8 * len(arithmetic.encode(symbols, alphabet)) / len(symbols), 6),
            }
