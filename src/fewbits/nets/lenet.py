"""The two LeNets on which networks are compressed, and the one on which ternary weights were first tested."""

from collections.abc import Callable

from torch import nn

from fewbits.nets.mlp import MLP


def lenet_300_100(activation: Callable[[], nn.Module] = nn.ReLU) -> MLP:
    """LeNet-300-100 (lecun1998): a perceptron of two hidden layers for images of 28 × 28 pixels, 266,610 parameters."""
    return MLP((784, 300, 100, 10), activation)


class LeNet5(nn.Sequential):
    """LeNet-5 in the variant that Caffe made common and the papers on compression use: 431,080 parameters.

    Two 5×5 convolutions without padding, 20 and 50 filters, each followed by a 2×2 max-pool and by nothing else, then a
    hidden layer of 500 units. Input (N, 1, 28, 28), output (N, 10) logits.

    Args:
        activation: of the hidden layer, called without arguments.
    """

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU):
        features = [nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)]
        super().__init__(*features, nn.Flatten(), nn.Linear(800, 500), activation(), nn.Linear(500, 10))


class LeNet32x64(nn.Sequential):
    """The network of li2016 on MNIST: 32C5-MP2-64C5-MP2-512FC, with batch normalization, and a linear layer.

    Convolutions without padding. Input (N, 1, 28, 28), output (N, 10) logits; 581,760 weights in four layers.

    Args:
        activation: after each normalization, called without arguments.
        output_norm: normalize after the last layer too, see :class:`fewbits.nets.MLP`.
    """

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU, output_norm: bool = False):
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 32), (32, 64)):
            layers += [nn.Conv2d(inputs, outputs, 5, bias=False), nn.BatchNorm2d(outputs), activation()]
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers, MLP((1024, 512, 10), activation, batch_norm=True, output_norm=output_norm))
