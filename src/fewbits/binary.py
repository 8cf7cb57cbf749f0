"""Binary networks: weights, and then activations, of -1 and +1.

BinaryConnect (courbariaux2015) binarizes weights, BinaryNet (courbariaux2016) activations too, XNOR-Net (rastegari2016)
gives both real scales that make up for the lost magnitudes. All three keep a real *latent* weight that the gradient
moves. BinaryNet's batch normalization and optimizer without multiplications are in :mod:`fewbits.shift_based`.

Everywhere here ``sign(0) = +1``, also for -0.0.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from fewbits.channels import channel_rows, mean_magnitude
from fewbits.checks import check_finite, check_float, working_precision
from fewbits.codes import Codes
from fewbits.quantizer import Quantizer, weight_layers, weight_quantizers
from fewbits.ste import sign_ste, straight_through


def _sign_codes(x: Tensor, scale: Tensor) -> Codes:
    """One bit per element of ``x``, 1 for +1, and a scale."""
    levels = torch.tensor([-1, 1], dtype=torch.int8, device=x.device)
    return Codes((x >= 0).to(torch.uint8), 1, scale.detach(), levels=levels, signed=False)


# --- BinaryConnect -------------------------------------------------------------------------------------------------


def probability_of_plus(x: Tensor) -> Tensor:
    """Hard sigmoid ``clip((x + 1) / 2, 0, 1)``: how likely stochastic binarization gives +1 (courbariaux2015, Eq. 3)."""
    return ((x + 1) / 2).clamp(0, 1)


class BinaryConnect(Quantizer):
    """Weights of -1 and +1 without a scale (courbariaux2015, Sec. 2.2 and 2.3); also BinaryNet's weights.

    Deterministic: the sign. Stochastic: +1 with :func:`probability_of_plus`, drawn anew at each call from torch's
    global generator, in train mode only; in eval mode, and in ``encode``, the sign. The gradient goes to the latent
    weight unchanged; :func:`clip_latent` after each step keeps that weight where it matters. The paper tests networks
    that were trained stochastically with their latent weights: see :func:`latent_weights`.

    Odd inputs: NaN and ±Inf, empty tensors and other than floating point dtypes are refused. Any shape, any dtype.

    Args:
        stochastic: draw the sign in train mode.
    """

    def __init__(self, stochastic: bool = False):
        super().__init__()
        self.stochastic = stochastic

    def forward(self, x: Tensor) -> Tensor:
        check_finite(x)
        if not (self.stochastic and self.training):
            return sign_ste(x, window=None)
        drawn = torch.where(torch.rand_like(x) < probability_of_plus(x.detach()), 1.0, -1.0).to(x.dtype)
        return straight_through(x, drawn)

    def encode(self, x: Tensor) -> Codes:
        return _sign_codes(check_finite(x), x.new_ones(()))

    def extra_repr(self) -> str:
        return f"stochastic={self.stochastic}"


@torch.no_grad()
def clip_latent(model: nn.Module) -> None:
    """Clip every latent weight of ``model`` to [-1, 1], in place: call it after each step (courbariaux2015, Sec. 2.4).

    Beyond ±1 a latent weight has no more influence, but would need ever more steps to come back and change its sign.
    """
    for _, _, latent in weight_quantizers(model):
        latent.clamp_(-1, 1)


@contextmanager
def latent_weights(model: nn.Module) -> Iterator[None]:
    """Within this context the layers of ``model`` use their latent weights instead of the quantized ones.

    This is how courbariaux2015 (Sec. 2.6, method 2) tests a network that was trained stochastically. Its weights then
    take 32 bits again: what the noise has bought is a regularized real network.
    """
    quantizers = [quantizer for _, quantizer, _ in weight_quantizers(model)]
    for quantizer in quantizers:
        quantizer.forward = lambda x: x  # shadows the method; the module stays in place for train() and eval()
    try:
        yield
    finally:
        for quantizer in quantizers:
            del quantizer.forward


def glorot_coefficient(weight: Tensor) -> float:
    """``sqrt(1.5 / (fan_in + fan_out))``: the standard deviation of Glorot's initialization is √(4/3) times that.

    Args:
        weight: (out, in, ...) of a linear layer or a convolution.
    """
    return (1.5 / sum(nn.init._calculate_fan_in_and_fan_out(weight))) ** 0.5


def glorot_groups(model: nn.Module, lr: float, power: int = 1) -> list[dict]:
    """Parameter groups that scale the learning rate of each latent weight by its layer (courbariaux2015, Sec. 2.5).

    A latent weight lives on [-1, 1] whatever the size of its layer, so in units of a normal weight it is
    ``1 / glorot_coefficient`` times too large, and so must its steps be. The paper's text says that rates are scaled
    *with* the coefficients; its code divides by them, which is what makes sense and what is done here.

    Args:
        model: with weights quantized by :func:`fewbits.quantizer.quantize_weights`.
        lr: learning rate of all other parameters.
        power: 1 for optimizers that normalize the gradient (Adam, AdaMax), 2 for SGD, as in the paper.
    Returns:
        One group for all other parameters, then one per latent weight, for any ``torch.optim`` optimizer.
    """
    latents = [latent for _, _, latent in weight_quantizers(model)]
    chosen = {id(latent) for latent in latents}
    groups = [{"params": [p for p in model.parameters() if id(p) not in chosen], "lr": lr}]
    return groups + [{"params": [w], "lr": lr / glorot_coefficient(w) ** power} for w in latents]


# --- BinaryNet -----------------------------------------------------------------------------------------------------


class SignActivation(Quantizer):
    """Activation of -1 and +1; the gradient passes where ``|x| <= 1`` (courbariaux2016, Sec. 1.3).

    It is the non-linearity itself and takes the place of a ReLU: behind one, it would see no negative number and give
    +1 everywhere. Any shape, any floating point dtype. In ``forward`` ±Inf becomes ±1 and NaN becomes -1 (both without
    gradient); ``encode`` refuses them.
    """

    def forward(self, x: Tensor) -> Tensor:
        return sign_ste(check_float(x))

    def encode(self, x: Tensor) -> Codes:
        return _sign_codes(check_finite(x), x.new_ones(()))


def binary_inner_product(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """Inner products of vectors of -1 and +1 from their packed signs, by XNOR and popcount (courbariaux2016, Sec. 1.6).

    XNOR marks where two signs agree, so the sum of products is (agreements) - (disagreements). XOR marks the
    disagreements, which gives ``count - 2 * popcount(a ^ b)``; zeros that fill up the last word never disagree.

    Args:
        a, b: (..., W) uint64 words from :func:`fewbits.packing.pack_signs`; leading axes are broadcast.
        count: length n of the vectors, 64 * (W - 1) < n <= 64 * W.
    Returns:
        (...) int64, in -n … n.
    Raises:
        TypeError: ``a`` or ``b`` does not hold uint64.
        ValueError: ``a`` and ``b`` have different numbers of words, or not those that ``count`` bits take.
    """
    for name, words in (("a", a), ("b", b)):
        if words.dtype != np.uint64:
            raise TypeError(f"{name} must hold uint64 words, got {words.dtype}")
        if words.shape[-1] != -(-count // 64):
            raise ValueError(f"{name} has {words.shape[-1]} words; {count} signs take {-(-count // 64)}")
    return count - 2 * np.bitwise_count(a ^ b).sum(-1, dtype=np.int64)


# --- XNOR-Net ------------------------------------------------------------------------------------------------------


class _ScaledSign(Function):
    @staticmethod
    def forward(ctx, x, alpha, channel_axis, cross_terms):
        sign = torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        ctx.save_for_backward(x, sign, alpha)
        ctx.channel_axis, ctx.cross_terms = channel_axis, cross_terms
        return sign * alpha

    @staticmethod
    def backward(ctx, grad):
        x, sign, alpha = ctx.saved_tensors
        if ctx.cross_terms:
            mean = channel_rows(grad * sign, ctx.channel_axis).mean(1)
            through_alpha = sign * mean.reshape(alpha.shape)
        else:
            through_alpha = grad / (x.numel() // alpha.numel())
        return through_alpha + grad * alpha * (x.abs() <= 1), None, None, None


class XnorWeights(Quantizer):
    """Weights ``alpha * sign(w)`` with ``alpha = mean|w|``, the least squares fit (rastegari2016, Sec. 3.1).

    Two gradients. With the straight-through rule of the sign, ``w̃_j = alpha(w) sign(w_j)`` depends on w_i through its
    own sign and, for every j, through alpha:

    * ``"exact"``: ``alpha 1[|w_i| <= 1] g_i + sign(w_i)/n Σ_j g_j sign(w_j)``;
    * ``"paper"``: ``alpha 1[|w_i| <= 1] g_i + g_i/n`` (Algorithm 1 and Sec. 3.1), which keeps only j = i of the sum.

    Odd inputs: all zero gives alpha = 0 and zeros. NaN and ±Inf, empty tensors, other than floating point dtypes and
    sums of magnitudes that overflow are refused. Half precision is computed in float32.

    Args:
        channel_axis: one alpha for each index of this axis (the paper's filters: 0), or None for one alpha.
        gradient: "paper" or "exact".
    """

    def __init__(self, channel_axis: int | None = 0, gradient: str = "paper"):
        super().__init__()
        if gradient not in ("paper", "exact"):
            raise ValueError(f'gradient must be "paper" or "exact", got {gradient!r}')
        self.channel_axis, self.gradient = channel_axis, gradient

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        alpha = mean_magnitude(x.detach(), self.channel_axis)
        return _ScaledSign.apply(x, alpha, self.channel_axis, self.gradient == "exact")

    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_float(x))
        return _sign_codes(x, mean_magnitude(x, self.channel_axis))

    def extra_repr(self) -> str:
        return f"channel_axis={self.channel_axis}, gradient={self.gradient!r}"


class XnorLinear(nn.Linear):
    """Linear layer with binary input: ``(sign(x) · w) K + bias``, ``K = mean|x|`` of each sample (rastegari2016, 3.2).

    The sign passes the gradient where ``|x| <= 1``; K is differentiated as it stands, which the paper leaves open.
    The weight is quantized by :class:`XnorWeights` through ``quantize_weights``, like that of any linear layer.

    Args:
        scale_input: use K; else the input is a bare sign, as in the paper's own code.
        Others as in ``nn.Linear``.
    """

    def __init__(self, *args, scale_input: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale_input = scale_input

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(sign_ste(check_float(x)), self.weight)
        if self.scale_input:
            y = y * x.abs().mean(-1, keepdim=True)
        return y if self.bias is None else y + self.bias


class XnorConv2d(nn.Conv2d):
    """Convolution with binary input: ``(sign(x) ∗ w) ⊙ K + bias`` (rastegari2016, Sec. 3.2, Eq. 11).

    K (N, 1, H', W') comes from :func:`input_scale`. Gradients and arguments as in :class:`XnorLinear`. Padding is done
    with zeros after the sign, so that it adds nothing to any sum; on hardware a border needs a count of its own.

    Raises:
        ValueError: ``groups`` is not 1 or ``padding_mode`` not "zeros": K averages over all input channels.
    """

    def __init__(self, *args, scale_input: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        if self.groups != 1 or self.padding_mode != "zeros":
            raise ValueError(f"needs groups=1 and padding with zeros, got {self.groups} and {self.padding_mode!r}")
        self.scale_input = scale_input

    def forward(self, x: Tensor) -> Tensor:
        y = self._conv_forward(sign_ste(check_float(x)), self.weight, None)
        if self.scale_input:
            y = y * input_scale(x, self.kernel_size, self.stride, self.padding, self.dilation)
        return y if self.bias is None else y + self.bias.reshape(-1, 1, 1)


def input_scale(x: Tensor, kernel_size, stride=1, padding=0, dilation=1) -> Tensor:
    """Scale K of the input of a convolution: mean of ``|x|`` over all channels and one window (rastegari2016, Eq. 11).

    ``A`` is the mean of ``|x|`` over the channels; a box filter of the convolution's geometry then averages it over
    each window. One pass for all overlapping windows: far cheaper than a scale computed for each window by itself.

    Args:
        x: (N, C, H, W).
        kernel_size: (height, width).
        stride, padding, dilation: as in ``F.conv2d``.
    Returns:
        (N, 1, H', W') >= 0. Padding counts as zeros, so K is smaller at the border.
    """
    height, width = kernel_size
    box = x.new_full((1, 1, height, width), 1 / (height * width))
    return F.conv2d(x.abs().mean(1, keepdim=True), box, stride=stride, padding=padding, dilation=dilation)


def binarize_inputs(model: nn.Module, scale_input: bool = True) -> nn.Module:
    """Give all layers of ``model`` but the first and the last binary inputs, in place; before ``quantize_weights``.

    The layers become :class:`XnorLinear` and :class:`XnorConv2d` with the same parameters. As in rastegari2016
    (Sec. 3.2), the network should normalize before each of them (``batch_norm=True``) and have no other non-linearity
    (``activation=nn.Identity``).

    Args:
        model: linear layers and 2d convolutions, weights not yet quantized.
        scale_input: use K.
    Returns:
        ``model``.
    Raises:
        TypeError: a layer is of another type, or quantized already.
        ValueError: a convolution that :class:`XnorConv2d` refuses.
    """
    inner = list(weight_layers(model).items())[1:-1]
    new_layers = {name: _binary_input_layer(name, layer, scale_input) for name, layer in inner}
    for name, layer in new_layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
    return model


def _binary_input_layer(name: str, layer: nn.Module, scale_input: bool) -> nn.Module:
    """An XNOR layer with the parameters of ``layer``."""
    options = {"bias": layer.bias is not None, "scale_input": scale_input, "device": "meta"}
    if type(layer) is nn.Linear:
        new = XnorLinear(layer.in_features, layer.out_features, **options)
    elif type(layer) is nn.Conv2d:
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        new = XnorConv2d(*shape, groups=layer.groups, padding_mode=layer.padding_mode, **options)
    else:
        raise TypeError(f"{name} must be a plain nn.Linear or nn.Conv2d, got {type(layer).__name__}")
    new.weight, new.bias = layer.weight, layer.bias
    return new
