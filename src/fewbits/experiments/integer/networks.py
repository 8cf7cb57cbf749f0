"""The networks of the experiment ``integer``: frozen ones of other chapters, and a small ResNet of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from fewbits.bn_folding import fold_model
from fewbits.data import Dataset, load
from fewbits.experiments.bn_folding import run as bn_folding
from fewbits.experiments.common import checkpoint_path
from fewbits.experiments.mobileone.cifar100 import cifar100, float_network
from fewbits.experiments.uniform import run as uniform
from fewbits.nets import MLP
from fewbits.nets.resnet import BasicBlock
from fewbits.training import half_size, load_model, one_cycle, save_model, seed_everything, sgd, train
from fewbits.uniform import quantize_model

CALIBRATION_IMAGES = 512
RESIDUAL_EPOCHS = 8


@dataclass(frozen=True)
class Source:
    """A trained network and what it is tested with.

    Attributes:
        model: of the seed, the folded network in evaluation mode.
        data: the data set that it was trained on.
        settings: (weight bits, activation bits) that it is converted with.
        seeds: that there is a network of.
    """

    model: Callable[[int], nn.Module]
    data: Callable[[], Dataset]
    settings: tuple[tuple[int, int], ...] = ((8, 8),)
    seeds: tuple[int, ...] = (0,)


def residual_net() -> nn.Sequential:
    """A small ResNet: a stem of 16 channels, two blocks, average pool. Input (N, 1, 14, 14), output (N, 10)."""
    stem = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [BasicBlock(16, 16, 1, nn.ReLU), BasicBlock(16, 32, 2, nn.ReLU)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


@cache
def digits() -> Dataset:
    return load("mnist5k")


@cache
def small_digits() -> Dataset:
    """``mnist5k`` averaged to 14 × 14 pixels."""
    return half_size(digits())


def train_residual(seed: int, data: Dataset, epochs: int = RESIDUAL_EPOCHS) -> nn.Module:
    """SGD with momentum, one-cycle learning rate up to 0.2, batches of 128."""
    seed_everything(seed)
    model = residual_net()
    train(model, data, sgd(model, 0.2, nesterov=True, weight_decay=5e-4), epochs=epochs, seed=seed, schedule=one_cycle)
    return model.eval()


def unfolded_residual(seed: int) -> nn.Module:
    """The small ResNet of a seed with its BN, trained if it has no checkpoint yet."""
    path = checkpoint_path(f"integer-residual-{seed}")
    if not path.exists():
        save_model(train_residual(seed, small_digits()), path)
    return load_model(residual_net(), path).eval()


def residual(seed: int) -> nn.Module:
    return fold_model(unfolded_residual(seed))


def mlp(seed: int) -> nn.Module:
    return load_model(MLP(uniform.SIZES), checkpoint_path("uniform-mlp"))


def mlp_2_bit(seed: int) -> nn.Module:
    """Trained with 2-bit weights and activations; its quantizers and their ranges come with it."""
    model = quantize_model(MLP(uniform.SIZES), 2, 2, torch.rand(8, 1, 28, 28))
    return load_model(model, checkpoint_path("uniform-mlp-w2a2"))


def folding(network: str) -> Callable[[int], nn.Module]:
    """A network of chapter ``bn_folding``, folded."""

    def model(seed: int) -> nn.Module:
        path = checkpoint_path(bn_folding.checkpoint_name(network))
        return fold_model(load_model(bn_folding.build(network), path))

    return model


def mobilenet(seed: int) -> nn.Module:
    """The MobileNet of chapter ``inq``, 159,236 parameters."""
    return float_network("mobilenet")


NETWORKS = {
    "MLP": Source(mlp, digits, ((8, 8), (4, 4))),
    "MLP, trained at 2 bits": Source(mlp_2_bit, digits, ((2, 2),)),
    "dense": Source(folding("dense"), digits, ((8, 8), (4, 4))),
    "separable": Source(folding("separable"), digits, ((8, 8), (4, 4))),
    "separable, strong decay": Source(folding("separable, strong decay"), digits, ((8, 8), (4, 4))),
    "residual": Source(residual, small_digits, ((8, 8), (4, 4)), (0, 1, 2, 3, 4)),
    "MobileNet": Source(mobilenet, lambda: cifar100(torch.device("cpu"))),
}


def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """Class of each image, (N,)."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in images.split(500)])
