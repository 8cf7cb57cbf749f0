"""VGG-small: the six-convolution network of the papers on binary and ternary weights."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from fewbits.nets.mlp import MLP

# Orders of convolution, batch normalization, activation and pool.
ORDERS = ("conv-norm-activation-pool", "conv-pool-norm-activation", "norm-activation-conv-pool")


class VGGSmall(nn.Module):
    """Three stages of two 3×3 convolutions and a 2×2 max-pool, then a linear classifier.

    A convolution (padding 1, stride 1) is followed by [batch normalization] and the activation; the pool closes a
    stage. Input (N, ``in_channels``, ``image_size``, ``image_size``), output (N, ``classes``) logits. The defaults are
    the convolutions of Courbariaux et al. (2015) and Li et al. (2016); ``fc=(1024,)`` adds the latter's hidden layer.

    Args:
        in_channels: 1 for grey images, 3 for colour.
        image_size: height and width in pixels, >= 8; three pools leave ``image_size // 8``.
        classes: number of outputs.
        widths: output channels of the six convolutions.
        activation: called without arguments at each use; gives a fresh module.
        batch_norm: normalize before each activation; the layer before it then has no bias.
        fc: units of each hidden linear layer before the last one.
        output_norm: normalize after the last layer too, see :class:`fewbits.nets.MLP`.
        order: of a stage. "conv-norm-activation-pool" is the usual one. BinaryNet has "conv-pool-norm-activation": its
            pool sees real numbers, not signs. XNOR-Net has "norm-activation-conv-pool"; there the first convolution is
            followed by normalization and ReLU, and so is the last one before the classifier.
    Raises:
        ValueError: not six widths, or images too small for three pools; ``order`` is unknown, or "norm-activation-…"
            without ``batch_norm``.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        classes: int,
        widths: Sequence[int] = (128, 128, 256, 256, 512, 512),
        activation: Callable[[], nn.Module] = nn.ReLU,
        batch_norm: bool = True,
        fc: Sequence[int] = (),
        output_norm: bool = False,
        order: str = ORDERS[0],
    ):
        super().__init__()
        if len(widths) != 6:
            raise ValueError(f"widths must be six numbers, got {tuple(widths)}")
        if image_size < 8:
            raise ValueError(f"image_size must be at least 8 for three pools, got {image_size}")
        if order not in ORDERS or (order == ORDERS[2] and not batch_norm):
            raise ValueError(f"order must be one of {ORDERS}, the last only with batch_norm, got {order!r}")
        layers: list[nn.Module] = []
        inputs = in_channels
        for index, outputs in enumerate(widths):
            before: list[nn.Module] = [nn.BatchNorm2d(inputs)] if order == ORDERS[2] else []
            after: list[nn.Module] = [nn.BatchNorm2d(outputs)] if batch_norm else []
            pool: list[nn.Module] = [nn.MaxPool2d(2)] if index % 2 else []
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm)
            if order == ORDERS[2]:
                edge: list[nn.Module] = [*after, nn.ReLU()] if index in (0, len(widths) - 1) else []
                layers += [*([*before, activation()] if index else []), convolution, *pool, *edge]
            else:
                after.append(activation())
                layers += [convolution, *(after + pool if order == ORDERS[0] else pool + after)]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        sizes = (inputs * (image_size // 8) ** 2, *fc, classes)
        self.classifier = MLP(sizes, activation, batch_norm, output_norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))
