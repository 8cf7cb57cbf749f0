"""Training with batch normalization *and* folded, quantized weights (Jacob et al. 2018, Sec. 3.2).

Fold first, then quantize: the weight that must fit the grid is ``c w``, the one that inference will see, and not ``w``.
But ``c = gamma / sqrt(var + eps)`` follows the batch while BN learns, and a grid that moves with every batch is hard to
train on. So statistics are *frozen* after some epochs: then c moves with gamma alone.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from fewbits.bn_folding.folding import BATCH_NORMS
from fewbits.core.channels import per_channel
from fewbits.core.quantizer import Quantizer


class FoldedLayer(nn.Module):
    """A layer and its BN as one layer with weight ``quantizer(c w)`` and bias ``c b + d``.

    In training, until :meth:`freeze`, the statistics are those of the batch, from a first pass with ``w`` itself (Jacob
    et al., Fig. C.8), and the running ones are updated; else they are the running ones.

    Args:
        layer: nn.Linear on (N, K) or nn.Conv2d, weight not quantized.
        bn: its BN, with affine parameters and running statistics.
        quantizer: of the folded weight.
    """

    def __init__(self, layer: nn.Module, bn: nn.Module, quantizer: Quantizer):
        super().__init__()
        self.layer, self.bn, self.quantizer = layer, bn, quantizer
        self.frozen = False

    def freeze(self) -> None:
        """From now on the running statistics count, in training too, and stay."""
        self.frozen = True

    def folded(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Weight ``c w``, before the quantizer, and bias ``c b + d``."""
        c = self.bn.weight / torch.sqrt(variance + self.bn.eps)
        bias = mean.new_zeros(()) if self.layer.bias is None else self.layer.bias
        weight = self.layer.weight * per_channel(c, self.layer.weight.dim())
        return weight, self.bn.bias + c * (bias - mean)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.folded(*self._statistics(x))
        return self._apply(x, self.quantizer(weight), bias)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.frozen or not self.training:
            return self.bn.running_mean, self.bn.running_var
        y = self._apply(x, self.layer.weight, self.layer.bias)
        axes = [axis for axis in range(y.dim()) if axis != 1]
        self.bn(y.detach())  # updates the running statistics
        return y.mean(axes), y.var(axes, correction=0)

    def _apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, self.layer.stride, self.layer.padding, self.layer.dilation, self.layer.groups)

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """A plain layer with a bias, the folded weight behind the quantizer: the same outputs as in evaluation mode."""
        layer = copy.deepcopy(self.layer)
        weight, bias = self.folded(self.bn.running_mean, self.bn.running_var)
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        parametrize.register_parametrization(layer, "weight", copy.deepcopy(self.quantizer))
        return layer


def fold_in_training(model: nn.Module, make_quantizer) -> nn.Module:
    """A copy of ``model`` in which each layer with a BN directly behind it has become one :class:`FoldedLayer`.

    BN becomes ``nn.Identity``; layers without BN stay as they are.

    Args:
        make_quantizer: returns a new weight quantizer at each call.
    """
    model = copy.deepcopy(model)
    modules = dict(model.named_modules())
    for node in fx.Tracer().trace(model).nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], BATCH_NORMS):
            continue
        before = node.all_input_nodes[0]
        if before.op == "call_module" and len(before.users) == 1:
            layer = modules[before.target]
            if isinstance(layer, nn.Linear | nn.Conv2d):
                model.set_submodule(before.target, FoldedLayer(layer, modules[node.target], make_quantizer()))
                model.set_submodule(node.target, nn.Identity())
    return model


def merge_folded(model: nn.Module) -> nn.Module:
    """A copy of ``model``, in evaluation mode, with every :class:`FoldedLayer` merged into a plain quantized layer."""
    model = copy.deepcopy(model).eval()
    for name, module in list(model.named_modules()):
        if isinstance(module, FoldedLayer):
            model.set_submodule(name, module.merge().eval())
    return model
