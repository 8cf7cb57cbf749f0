"""The two LeNets on which networks are compressed: 266,610 and 431,080 parameters, nearly all of them superfluous."""

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
