"""Normalization for a network whose batch normalization has been folded: by the mean alone, or as before.

INQ trains a folded network, in which nothing keeps the statistics of the channels in place. Batch normalization could
be inserted again, but it multiplies a channel by a number that is not a power of two, so it must stay in the network.
The *mean* of the batch can be subtracted at no such price: it goes into the bias after training, and no weight changes.

Both begin with the statistics of some images, so that the network computes the same before and after.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils import parametrize

from fewbits.bn_folding import other_axes, output_statistics
from fewbits.core.channels import per_channel
from fewbits.core.graph import read, replace_module

Convolution = nn.Conv1d | nn.Conv2d


class _Centered(Function):
    """``y - mean + offset`` by channel, mean of the batch; autograd would write two more tensors as large as ``y``."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        mean = y.mean(other_axes(y))
        ctx.mark_non_differentiable(mean)
        return y + per_channel(offset - mean, y.dim(), 1), mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        grad, _ = grads
        total = grad.sum(other_axes(grad))
        return grad - per_channel(total / (grad.numel() // len(total)), grad.dim(), 1), total


class MeanNorm(nn.Module):
    """Subtract the mean of each channel, and add a learned ``offset``: normalization without a division.

    In training mode the mean is that of the batch, and the running mean moves towards it by ``momentum``; in evaluation
    mode it is the running mean. So what it does then is to add ``offset - running_mean``, as a bias would.

    Args:
        channels: C of input and output, which are (N, C, …).
        momentum: as in ``nn.BatchNorm2d``.
    Source: own (the mean of ioffe2015 Alg. 1, line 1, without its variance)
    """

    running_mean: Tensor

    def __init__(self, channels: int, momentum: float = 0.1):
        super().__init__()
        self.momentum = momentum
        self.offset = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, y: Tensor) -> Tensor:
        if not self.training:
            return y + per_channel(self.bias(), y.dim(), 1)
        y, mean = _Centered.apply(y, self.offset)  # ioffe2015 Alg. 1
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        return y

    def bias(self) -> Tensor:
        """What it adds in evaluation mode, (C,).

        Source: own (fold of a mean)
        """
        return self.offset - self.running_mean

    def extra_repr(self) -> str:
        return f"{len(self.offset)}, momentum={self.momentum}"


class NormalizedLayer(nn.Sequential):
    """A convolution without a bias, and the normalization after it.

    Source: own (a pair of modules)
    """

    @property
    def layer(self) -> Convolution:
        """The convolution."""
        return cast(Convolution, self[0])


@torch.no_grad()
def insert_mean_norms(model: nn.Module, images: Tensor, batch_size: int = 250) -> nn.Module:
    """Put a :class:`MeanNorm` after every convolution, in place: it begins at the mean of ``images``.

    In evaluation mode the model computes the same as before, up to rounding. The bias of a convolution goes into the
    offset. Weights may be quantized, or frozen by INQ. :func:`fold_mean_norms` takes the norms out again.

    Args:
        model: in evaluation mode.
        images: (N, …), from which the means come.
        batch_size: images at a time.
    Returns:
        ``model``.
    Raises:
        ValueError: the model is in training mode or has no convolution; or one of them is called more than once, shares
            a parameter, has a bias that is quantized, or is not reached (the message names it). Nothing has changed.
    Source: own (normalization by the mean)
    """

    def begin(mean: Tensor, variance: Tensor, bias: Tensor) -> nn.Module:
        norm = MeanNorm(len(mean)).to(bias)
        norm.running_mean.copy_(mean)
        norm.offset.copy_(mean + bias)
        return norm

    return _insert(model, images, batch_size, begin)


@torch.no_grad()
def insert_batch_norms(model: nn.Module, images: Tensor, batch_size: int = 250) -> nn.Module:
    """Put an ``nn.BatchNorm2d`` (``1d``) after every convolution, in place, as :func:`insert_mean_norms` does.

    Its factor begins at the standard deviation of ``images``, and its offset at their mean plus the bias. It stays in
    the network: :func:`fewbits.bn_folding.fold_model` would take the weights off their grid.

    Raises:
        ValueError: as :func:`insert_mean_norms`.
    Source: ioffe2015 Alg. 1 (factor and offset that restore what is normalized)
    """

    def begin(mean: Tensor, variance: Tensor, bias: Tensor) -> nn.Module:
        norm = (nn.BatchNorm1d if axes[len(made)] == 3 else nn.BatchNorm2d)(len(mean)).to(bias)
        made.append(norm)
        for tensor, value in zip(norm.buffers(), (mean, variance), strict=False):
            tensor.copy_(value)
        norm.weight.copy_((variance + norm.eps).sqrt())  # ioffe2015 Alg. 1
        norm.bias.copy_(mean + bias)
        return norm

    made: list[nn.Module] = []
    axes = [layer.weight.dim() for layer in _convolutions(model).values()]
    return _insert(model, images, batch_size, begin)


def fold_mean_norms(model: nn.Module) -> nn.Module:
    """Take every norm that :func:`insert_mean_norms` has put in out again, in place: it becomes the bias of its layer.

    Names are what they were before, and no weight changes.

    Returns:
        ``model``.
    Raises:
        ValueError: a norm is in training mode, where it depends on the batch, or there is none.
    Source: own (fold of a mean)
    """
    pairs = {name: pair for name, pair in model.named_modules() if isinstance(pair, NormalizedLayer)}
    pairs = {name: pair for name, pair in pairs.items() if isinstance(pair[1], MeanNorm)}
    if not pairs:
        raise ValueError("model has no MeanNorm to fold")
    for name, pair in pairs.items():
        if pair[1].training:
            raise ValueError(f"{name} is in training mode, where it depends on the batch: call .eval() first")
    for pair in pairs.values():
        pair.layer.bias = nn.Parameter(cast(MeanNorm, pair[1]).bias().detach())
        replace_module(model, pair, pair.layer)
    return model


def _convolutions(model: nn.Module) -> dict[str, Convolution]:
    """The convolutions of ``model`` that can be given a norm, by name, in the order in which they are called."""
    if model.training:
        raise ValueError("model is in training mode, where it may depend on the batch: call model.eval() first")
    network = read(model)
    found: dict[str, Convolution] = {}
    for call in network.calls:
        if not isinstance(call.module, nn.Conv1d | nn.Conv2d):
            continue
        if call.layer is None:
            raise ValueError(f"{call} has a forward of its own, so its channels are not known")
        if sharing := network.sharing(call):
            raise ValueError(f"{sharing}: a norm after it would serve two")
        if parametrize.is_parametrized(call.module, "bias"):
            raise ValueError(f"{call} has a quantized bias, which a norm would take off its grid")
        if call.module is model:
            raise ValueError("model is a convolution itself: put it into an nn.Sequential")
        found[call.name] = call.module
    if unused := [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d) and module not in found.values()
    ]:
        raise ValueError(f"{unused} are not called in a forward pass, so their statistics are not known")
    if not found:
        raise ValueError("model has no convolution to put a norm after")
    return found


def _insert(
    model: nn.Module, images: Tensor, batch_size: int, begin: Callable[[Tensor, Tensor, Tensor], nn.Module]
) -> nn.Module:
    """``begin`` gets mean and variance of the outputs of a convolution without its bias, and the bias: three (C,)."""
    layers = list(_convolutions(model).values())
    for layer, (mean, variance) in zip(layers, output_statistics(model, layers, images, batch_size), strict=True):
        bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.detach()
        norm = begin(mean - bias, variance, bias)
        layer.bias = None
        replace_module(model, layer, NormalizedLayer(layer, norm).eval())
    return model
