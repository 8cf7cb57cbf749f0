"""XNOR-Net (rastegari2016): binary weights, and binary inputs, with real scales for the magnitudes that are lost.

With weights alone the paper calls it a Binary-Weight-Network: :class:`XnorWeights`. An XNOR-Network also binarizes the
input of each layer: :func:`binarize_inputs`. ``sign(0) = +1``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from fewbits.binary.binary_connect import sign_codes
from fewbits.core.channels import channel_rows, mean_magnitude
from fewbits.core.checks import check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.graph import Call, is_plain, read, replace_module
from fewbits.core.powers import ap2, nearest_power
from fewbits.core.quantizer import Quantizer, weight_layers, weight_quantizers
from fewbits.core.ste import sign_ste

GRADIENTS = ("paper", "exact", "released")


class _ScaledSign(Function):
    @staticmethod
    def forward(ctx, x, alpha, channel_axis, gradient):
        # Comparisons into the dtype of x: into bool they take torch many times as long.
        sign = torch.ge(x, 0, out=torch.empty_like(x)).mul_(2).sub_(1)  # rastegari2016 Eq. 4
        ctx.save_for_backward(x, sign, alpha)
        ctx.channel_axis, ctx.gradient = channel_axis, gradient
        return sign * alpha

    @staticmethod
    def backward(ctx, grad):
        x, sign, alpha = ctx.saved_tensors
        size = x.numel() // alpha.numel()
        if ctx.gradient == "exact":
            mean = channel_rows(grad * sign, ctx.channel_axis).mean(1)
            through_alpha = sign * mean.reshape(alpha.shape)
        else:
            through_alpha = grad / size  # rastegari2016 Sec. 3.1
        inside = x.detach().abs()
        whole = through_alpha + grad * alpha * torch.le(inside, 1, out=inside)
        return whole * (size * (1 - 1 / x.shape[1]) if ctx.gradient == "released" else 1.0), None, None, None


class _MeanMagnitude(Function):
    """Mean of |x| over the channels; its gradient is laid out in memory as x is, so that no later sum has to mix."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.abs().mean(1, keepdim=True)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return x.detach().sgn().mul_(grad / x.shape[1])


class XnorWeights(Quantizer):
    """Weights ``alpha * sign(w)`` with ``alpha = mean|w|``, the least squares fit.

    Three gradients. With the straight-through rule of the sign, ``w̃_j = alpha(w) sign(w_j)`` depends on w_i through its
    own sign and, for every j, through alpha:

    * ``"exact"``: ``alpha 1[|w_i| <= 1] g_i + sign(w_i)/n Σ_j g_j sign(w_j)``;
    * ``"paper"``: ``alpha 1[|w_i| <= 1] g_i + g_i/n`` (rastegari2016 Sec. 3.1), which keeps only j = i of the sum;
    * ``"released"``: that, times ``n (1 - 1/C)`` with C input channels, as in the authors' code.

    Odd inputs: all zero gives alpha = 0 and zeros. NaN and ±Inf, empty tensors, other than floating point dtypes and
    sums of magnitudes that overflow are refused. Half precision is computed in float32.

    Args:
        channel_axis: one alpha for each index of this axis (the paper's filters: 0), or None for one alpha.
        gradient: "paper", "exact" or "released"; the last is for weights of at least two axes, (out, in, ...).
        power_of_two: round alpha to the nearest power of two, so that scaling is a shift.
    Raises:
        ValueError: ``gradient`` is unknown, or "released" for a weight of one axis.
    Source: rastegari2016 Eq. 4; rastegari2016 Eq. 6; rastegari2016 Sec. 3.1 (gradient "paper"); own (gradient "exact",
        powers of two); own (gradient "released", from the authors' code); book eq-binary-alpha;
        book eq-binary-xnor-gradient
    """

    weights_only = True

    def __init__(self, channel_axis: int | None = 0, gradient: str = "paper", power_of_two: bool = False):
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {GRADIENTS}, got {gradient!r}")
        self.channel_axis, self.gradient, self.power_of_two = channel_axis, gradient, power_of_two

    def _alpha(self, x: Tensor) -> Tensor:
        alpha = mean_magnitude(x, self.channel_axis)  # rastegari2016 Eq. 6
        return nearest_power(alpha) if self.power_of_two else alpha

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        if self.gradient == "released" and x.dim() < 2:
            raise ValueError(f'gradient "released" needs a weight (out, in, ...), got shape {tuple(x.shape)}')
        return _ScaledSign.apply(x, self._alpha(x.detach()), self.channel_axis, self.gradient)

    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_float(x))
        return sign_codes(x, self._alpha(x))

    def extra_repr(self) -> str:
        return f"channel_axis={self.channel_axis}, gradient={self.gradient!r}, power_of_two={self.power_of_two}"


@torch.no_grad()
def center_latent(model: nn.Module) -> None:
    """Subtract from each latent weight of ``model`` its mean over the input channels, in place.

    The authors' code does so, and then clips to [-1, 1], before each forward pass: call this after each step, and
    :func:`fewbits.binary.clip_latent` after it.

    Source: own (from the authors' code)
    """
    for _, _, latent in weight_quantizers(model):
        latent -= latent.mean(1, keepdim=True)


class XnorLinear(nn.Linear):
    """Linear layer with binary input: ``(sign(x) · w) K + bias``, ``K = mean|x|`` of each sample.

    The sign passes the gradient where ``|x| <= 1``; K is differentiated as it stands, which the paper leaves open.
    The weight is quantized by :class:`XnorWeights` through ``quantize_weights``, like that of any linear layer.

    Args:
        scale_input: use K; else the input is a bare sign, as in the paper's own code.
        power_of_two: round K to a power of two, by :func:`fewbits.core.powers.ap2`, whose gradient is 1.
        *args, **kwargs: as in ``nn.Linear``.
    Source: rastegari2016 Eq. 9; rastegari2016 Eq. 10
    """

    def __init__(self, *args, scale_input: bool = True, power_of_two: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale_input, self.power_of_two = scale_input, power_of_two

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(sign_ste(check_float(x)), self.weight)  # rastegari2016 Eq. 9
        if self.scale_input:
            y = y * _scale(x.abs().mean(-1, keepdim=True), self.power_of_two)  # rastegari2016 Eq. 10
        return y if self.bias is None else y + self.bias


class XnorConv2d(nn.Conv2d):
    """Convolution with binary input: ``(sign(x) ∗ w) ⊙ K + bias``.

    K (N, 1, H', W') comes from :func:`input_scale`. Gradients and arguments as in :class:`XnorLinear`. Padding is done
    with zeros after the sign, so that it adds nothing to any sum; on hardware a border needs a count of its own.

    Raises:
        ValueError: ``groups`` is not 1 or ``padding_mode`` not "zeros": K averages over all input channels.
    Source: rastegari2016 Eq. 11; book eq-binary-xnor
    """

    def __init__(self, *args, scale_input: bool = True, power_of_two: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        if self.groups != 1 or self.padding_mode != "zeros":
            raise ValueError(f"needs groups=1 and padding with zeros, got {self.groups} and {self.padding_mode!r}")
        self.scale_input, self.power_of_two = scale_input, power_of_two

    def forward(self, x: Tensor) -> Tensor:
        y = self._conv_forward(sign_ste(check_float(x)), self.weight, None)
        if self.scale_input:
            scale = input_scale(x, self.kernel_size, self.stride, self.padding, self.dilation)
            y = y * _scale(scale, self.power_of_two)  # rastegari2016 Eq. 11
        return y if self.bias is None else y + self.bias.reshape(-1, 1, 1)


def _scale(scale: Tensor, power_of_two: bool) -> Tensor:
    return ap2(scale) if power_of_two else scale


def input_scale(x: Tensor, kernel_size, stride=1, padding=0, dilation=1) -> Tensor:
    """Scale K of the input of a convolution: mean of ``|x|`` over all channels and one window.

    ``A`` is the mean of ``|x|`` over the channels; a box filter of the convolution's geometry then averages it over
    each window. One pass for all overlapping windows: far cheaper than a scale computed for each window by itself.

    Args:
        x: (N, C, H, W).
        kernel_size: (height, width).
        stride, padding, dilation: as in ``F.conv2d``.
    Returns:
        (N, 1, H', W') >= 0. Padding counts as zeros, so K is smaller at the border.
    Source: rastegari2016 Sec. 3.2 (the factor K of Eq. 11); book eq-binary-xnor
    """
    height, width = kernel_size
    box = x.new_full((1, 1, height, width), 1 / (height * width))
    # rastegari2016 Sec. 3.2
    return F.conv2d(_MeanMagnitude.apply(x), box, stride=stride, padding=padding, dilation=dilation)


def binarize_inputs(model: nn.Module, scale_input: bool = True, power_of_two: bool = False) -> nn.Module:
    """Give all layers of ``model`` but the first and the last binary inputs, in place; before ``quantize_weights``.

    The layers become :class:`XnorLinear` and :class:`XnorConv2d` with the same parameters. As in the paper,
    the network should normalize before each of them (``batch_norm=True``) and have no other non-linearity
    (``activation=nn.Identity``).

    Args:
        model: linear layers and 2d convolutions, weights not yet quantized.
        scale_input: use K.
        power_of_two: round K to a power of two.
    Returns:
        ``model``.
    Raises:
        TypeError: a layer is of another type, has hooks, or is quantized already.
        ValueError: a convolution that :class:`XnorConv2d` refuses; the inputs of a layer are never negative, as after a
            ReLU, so that all their signs would be +1; or the forward pass cannot be read
            (:func:`fewbits.core.graph.read`). The message names the layer, and nothing has changed.
    Source: rastegari2016 Sec. 3.2; rastegari2016 Fig. 3 (order of a block)
    """
    inner = list(weight_layers(model).items())[1:-1]
    new_layers = {}
    for name, layer in inner:
        try:
            new_layers[name] = _binary_input_layer(name, layer, scale_input=scale_input, power_of_two=power_of_two)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    layers = [layer for _, layer in inner]
    for call in read(model).calls:
        if call.layer in layers and (source := _never_negative(call.inputs[0])):
            raise ValueError(
                f"{call} gets its inputs from {source}, which are never negative: all their signs would be +1. "
                "Normalize before the layer, and leave the activation out"
            )
    for name, new in new_layers.items():  # one that is registered at two places stays one
        replace_module(model, model.get_submodule(name), new)
    return model


def _never_negative(call: Call) -> Call | None:
    """The activation after which the result of ``call`` has no sign to tell; None if there is none."""
    while call.op in ("identity", "dropout", "flatten", "reshape", "max_pool2d", "global_average"):
        call = call.inputs[0]
    other = is_plain(call.module, (nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus))
    return call if other or call.op == "relu" else None


def _binary_input_layer(name: str, layer: nn.Module, **scales: bool) -> nn.Module:
    """An XNOR layer with the parameters of ``layer``."""
    biased = layer.bias is not None
    new: XnorLinear | XnorConv2d
    if type(layer) is nn.Linear and is_plain(layer, nn.Linear):
        new = XnorLinear(layer.in_features, layer.out_features, biased, **scales, device="meta")
    elif type(layer) is nn.Conv2d and is_plain(layer, nn.Conv2d):
        new = XnorConv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            groups=layer.groups,
            bias=biased,
            padding_mode=layer.padding_mode,
            **scales,
            device="meta",
        )
    else:
        hooks = " with hooks" if type(layer) in (nn.Linear, nn.Conv2d) else ""
        raise TypeError(f"{name} must be a plain nn.Linear or nn.Conv2d, got {type(layer).__name__}{hooks}")
    for kind, parameter in layer.named_parameters():
        new.register_parameter(kind, parameter)
    return new.train(layer.training)
