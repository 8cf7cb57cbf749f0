"""The networks of the book. Each takes an ``activation`` factory, so that quantized activations can be put in."""

from torch import nn

from fewbits.nets.efficientnet_lite import EfficientNetLite0, efficientnet_lite0
from fewbits.nets.lenet import LeNet5, LeNet32x64, lenet_300_100
from fewbits.nets.lstm import CharLSTM
from fewbits.nets.mlp import MLP
from fewbits.nets.resnet import ResNet18, ResNet20
from fewbits.nets.vgg import VGGSmall

__all__ = [
    "MLP",
    "CharLSTM",
    "EfficientNetLite0",
    "LeNet5",
    "LeNet32x64",
    "ResNet18",
    "ResNet20",
    "VGGSmall",
    "count_parameters",
    "efficientnet_lite0",
    "lenet_300_100",
]


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, trainable or not; a parameter that is used in several places counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
