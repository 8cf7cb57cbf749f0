"""Training with batch normalization *and* folded, quantized weights (jacob2018 Sec. 3.2).

Fold first, then quantize: the weight that must fit the grid is ``c w``, the one that inference will see, and not ``w``.
But ``c = gamma / sqrt(var + eps)`` follows the batch while BN learns, and a grid that moves with every batch is hard to
train on. So statistics are *frozen* after some epochs: then c moves with gamma alone.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.bn_folding.folding import foldable_pairs
from fewbits.core.batch_norm import factor_and_offset, running_statistics
from fewbits.core.channels import per_channel
from fewbits.core.graph import BatchNorm, read, replace_module
from fewbits.core.quantizer import LinearOrConv, Quantizer, put_quantizer


class FoldedLayer(nn.Module):
    """A layer and its BN as one layer with weight ``quantizer(c w)`` and bias ``c b + d``.

    Where the BN is in training mode, until :meth:`freeze`, the statistics are those of the batch, from a first pass
    with ``w`` itself, and the running ones are updated; else they are the running ones. Whether it is frozen is part of
    the state. (jacob2018 Eq. 14 folds the moving average of the variance from the start and does not freeze.)

    Args:
        layer: nn.Linear on (N, K) or a convolution, weight not quantized.
        bn: its BN, with running statistics.
        quantizer: of the folded weight.
    Raises:
        ValueError: the weight of ``layer`` is quantized, ``bn`` has no running statistics or another number of
            channels; at a call, the input of a linear layer is not (N, K).
    Source: jacob2018 Eq. 14; jacob2018 Fig. C.8; own (freezing)
    """

    frozen: Tensor

    def __init__(self, layer: LinearOrConv, bn: BatchNorm, quantizer: Quantizer):
        super().__init__()
        if parametrize.is_parametrized(layer):
            raise ValueError("layer has a quantized weight; fold before quantizing, or it is quantized twice")
        running_statistics(bn)
        if len(layer.weight) != bn.num_features:
            raise ValueError(f"layer has {len(layer.weight)} output channels, bn has {bn.num_features}")
        self.layer, self.bn, self.quantizer = layer, bn, quantizer
        self.register_buffer("frozen", torch.tensor(False, device=layer.weight.device))
        self.train(bn.training)

    def freeze(self) -> None:
        """From now on use the running statistics, in training too, and keep them fixed."""
        self.frozen.fill_(True)

    def folded(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Weight ``c w``, before the quantizer, and bias ``c b + d``.

        Source: jacob2018 Eq. 14; book eq-bn-folding
        """
        gamma, beta = factor_and_offset(self.bn)
        c = gamma / torch.sqrt(variance + self.bn.eps)
        bias = mean.new_zeros(()) if self.layer.bias is None else self.layer.bias
        weight = self.layer.weight * per_channel(c, self.layer.weight.dim())  # jacob2018 Eq. 14
        return weight, beta + c * (bias - mean)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.folded(*self._statistics(x))
        return self._run(x, self.quantizer(weight).to(weight.dtype), bias)  # jacob2018 Fig. C.8

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.frozen or not self.bn.training:
            return running_statistics(self.bn)
        y = self._run(x, self.layer.weight, self.layer.bias)
        axes = [axis for axis in range(y.dim()) if axis != 1]
        self.bn(y.detach())  # updates the running statistics
        return y.mean(axes), y.var(axes, correction=0)

    def _run(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with another weight and bias; a convolution does it with its own padding and geometry."""
        if not isinstance(self.layer, nn.Linear):
            return self.layer._conv_forward(x, weight, bias)
        if x.dim() != 2:
            raise ValueError(f"x must be (N, K), so that the channels are axis 1, got {tuple(x.shape)}")
        return F.linear(x, weight, bias)

    @torch.no_grad()
    def merge(self) -> LinearOrConv:
        """A plain layer with a bias, the folded weight after the quantizer: the same outputs as in evaluation mode."""
        layer = copy.deepcopy(self.layer)
        weight, bias = self.folded(*running_statistics(self.bn))
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        put_quantizer(layer, copy.deepcopy(self.quantizer))
        return layer


def fold_in_training(model: nn.Module, make_quantizer: Callable[[], Quantizer]) -> nn.Module:
    """A copy of ``model`` in which each layer with a BN directly after it has become one :class:`FoldedLayer`.

    BN becomes ``nn.Identity``; layers without BN stay as they are, and so do those that
    :func:`fewbits.bn_folding.fold_model` leaves alone, e.g. because they are called twice.

    Args:
        make_quantizer: returns a new weight quantizer at each call.
    Raises:
        ValueError: as :class:`FoldedLayer`, or the forward pass cannot be read; the message names the module.
    Source: own (change of the network); jacob2018 Fig. C.8 (the layer)
    """
    model = copy.deepcopy(model)
    for names, (layer, bn) in foldable_pairs(read(model)).items():
        try:
            folded = FoldedLayer(layer, bn, make_quantizer())
        except ValueError as error:
            raise ValueError(f"{names}: {error}") from error
        replace_module(model, bn, nn.Identity().train(bn.training))
        replace_module(model, layer, folded)
    return model


def merge_folded(model: nn.Module) -> nn.Module:
    """A copy of ``model``, in evaluation mode, with every :class:`FoldedLayer` merged into a plain quantized layer.

    Source: own (change of the network)
    """
    model = copy.deepcopy(model).eval()
    if isinstance(model, FoldedLayer):
        return model.merge().eval()
    for module in list(model.modules()):
        if isinstance(module, FoldedLayer):
            replace_module(model, module, module.merge().eval())
    return model
