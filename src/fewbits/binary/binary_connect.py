"""Binary networks: weights, and then activations, of -1 and +1.

BinaryConnect (courbariaux2015) binarizes weights, BinaryNet (courbariaux2016) activations too. Both keep a real
*latent* weight that the gradient moves. BinaryNet's batch normalization and optimizer without multiplications are in
:mod:`fewbits.binary.shift_based`; XNOR-Net, which adds real scales to both, is in :mod:`fewbits.binary.xnor`.

Everywhere here ``sign(0) = +1``, also for -0.0.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.core.checks import check_finite, check_float
from fewbits.core.codes import Codes
from fewbits.core.quantizer import Quantizer, weight_quantizers
from fewbits.core.ste import sign_ste, straight_through


def sign_codes(x: Tensor, scale: Tensor) -> Codes:
    """The sign of ``x`` in one bit per element, 1 for +1, with a scale, () or broadcastable to ``x``.

    Source: courbariaux2015 Eq. 1
    """
    levels = torch.tensor([-1, 1], dtype=torch.int8, device=x.device)
    return Codes((x >= 0).to(torch.uint8), 1, scale.detach(), levels=levels, signed=False)  # courbariaux2015 Eq. 1


# --- BinaryConnect -------------------------------------------------------------------------------------------------


def probability_of_plus(x: Tensor) -> Tensor:
    """Hard sigmoid ``clip((x + 1) / 2, 0, 1)``: chance of +1 in stochastic binarization.

    Source: courbariaux2015 Eq. 3; book eq-binary-connect
    """
    return ((x + 1) / 2).clamp(0, 1)  # courbariaux2015 Eq. 3


class BinaryConnect(Quantizer):
    """Weights of -1 and +1 without a scale; also BinaryNet's weights.

    Deterministic: the sign. Stochastic: +1 with :func:`probability_of_plus`, drawn anew at each call from torch's
    global generator, in train mode only; in eval mode, and in ``encode``, the sign. The gradient goes to the latent
    weight unchanged; :func:`clip_latent` after each step keeps that weight in [-1, 1]. A network trained stochastically
    was never evaluated with its signs and can fail with them; the paper tests it with its latent weights, see
    :func:`latent_weights`.

    Odd inputs: NaN and ±Inf, empty tensors and other than floating point dtypes are refused. Any shape, any dtype.

    Args:
        stochastic: draw the sign in train mode.
    Source: courbariaux2015 Eq. 1; courbariaux2015 Eq. 2; courbariaux2015 Alg. 1; book eq-binary-connect
    """

    def __init__(self, stochastic: bool = False):
        super().__init__()
        self.stochastic = stochastic

    def forward(self, x: Tensor) -> Tensor:
        check_finite(x)
        if not (self.stochastic and self.training):
            return sign_ste(x, window=None)  # courbariaux2015 Eq. 1
        draws, p = torch.rand_like(x), probability_of_plus(x.detach())
        # courbariaux2015 Eq. 2; 1 or 0 in the dtype of x, since bool takes torch longer
        plus = torch.lt(draws, p, out=draws)
        return straight_through(x, plus.mul_(2).sub_(1))

    def encode(self, x: Tensor) -> Codes:
        return sign_codes(check_finite(x), x.new_ones(()))

    def extra_repr(self) -> str:
        return f"stochastic={self.stochastic}"


@torch.no_grad()
def clip_latent(model: nn.Module) -> None:
    """Clip every latent weight of ``model`` to [-1, 1], in place: call it after each step.

    Beyond ±1 a latent weight has no additional influence, but would need more and more steps to change its sign.

    Source: courbariaux2015 Sec. 2.4; courbariaux2015 Alg. 1
    """
    for _, _, latent in weight_quantizers(model):
        latent.clamp_(-1, 1)  # courbariaux2015 Sec. 2.4


@torch.no_grad()
def start_latent(model: nn.Module) -> nn.Module:
    """Draw every latent weight of ``model`` anew, uniformly from [-1, 1], in place, and return ``model``.

    After a usual start, within ±0.04 say, every stochastic weight is +1 or -1 with nearly equal probability, so that
    the network learns nothing for a long time.

    Source: courbariaux2016 Alg. 1 (start and rates from the released code)
    """
    for latent in {id(latent): latent for _, _, latent in weight_quantizers(model)}.values():
        nn.init.uniform_(latent, -1, 1)
    return model


@contextmanager
def latent_weights(model: nn.Module) -> Iterator[None]:
    """Within this context the layers of ``model`` use their latent weights instead of the quantized ones.

    This is how courbariaux2015 tests a network that was trained stochastically (its second method). Its weights then
    take 32 bits again: the result is a real network, regularized by noise.

    Source: courbariaux2015 Sec. 2.6
    """
    quantizers = {quantizer for _, quantizer, _ in weight_quantizers(model)}  # layers that share a weight share one
    for quantizer in quantizers:
        vars(quantizer)["forward"] = lambda x: x  # shadows the method; the module stays in place for train() and eval()
    try:
        yield
    finally:
        for quantizer in quantizers:
            del vars(quantizer)["forward"]


def glorot_coefficient(weight: Tensor) -> float:
    """``sqrt(1.5 / (fan_in + fan_out))``: the standard deviation of Glorot's initialization is √(4/3) times that.

    Args:
        weight: (out, in, ...) of a linear layer or a convolution.
    Source: courbariaux2015 Sec. 2.5 (the constant from the released code)
    """
    return (1.5 / sum(nn.init._calculate_fan_in_and_fan_out(weight))) ** 0.5  # courbariaux2015 Sec. 2.5


def glorot_groups(model: nn.Module, lr: float, power: int = 1) -> list[dict]:
    """Parameter groups that scale the learning rate of each latent weight by its layer.

    A latent weight lies in [-1, 1] whatever the size of its layer. It is ``1 / glorot_coefficient`` times as large as a
    usual weight, and its steps must be larger by the same factor. The paper's text multiplies the rates by the
    coefficients; its code divides by them, as is done here.

    Args:
        model: with weights quantized by :func:`fewbits.core.quantizer.quantize_weights`.
        lr: learning rate of all other parameters.
        power: 1 for optimizers that normalize the gradient (Adam, AdaMax), 2 for SGD, as in the paper.
    Returns:
        One group for all other parameters, then one per latent weight, for any ``torch.optim`` optimizer.
    Source: courbariaux2015 Sec. 2.5
    """
    latents = list({id(latent): latent for _, _, latent in weight_quantizers(model)}.values())
    chosen = {id(latent) for latent in latents}
    groups = [{"params": [p for p in model.parameters() if id(p) not in chosen], "lr": lr}]
    return groups + [{"params": [w], "lr": lr / glorot_coefficient(w) ** power} for w in latents]


# --- BinaryNet -----------------------------------------------------------------------------------------------------


class SignActivation(Quantizer):
    """Activation of -1 and +1; the gradient passes where ``|x| <= 1``.

    It is the non-linearity itself and replaces a ReLU: after one, it would see no negative number and give
    +1 everywhere. Any shape, any floating point dtype. In ``forward`` ±Inf becomes ±1 and NaN becomes -1 (both without
    gradient); ``encode`` refuses them.

    Source: courbariaux2016 Eq. 1; courbariaux2016 Eq. 4; courbariaux2016 Sec. 1.3
    """

    def forward(self, x: Tensor) -> Tensor:
        return sign_ste(check_float(x))  # courbariaux2016 Eq. 1; backward: courbariaux2016 Eq. 4

    def encode(self, x: Tensor) -> Codes:
        return sign_codes(check_finite(x), x.new_ones(()))


def binary_inner_product(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """Inner products of vectors of -1 and +1 from their packed signs, by XNOR and popcount.

    XNOR marks where two signs agree, so the sum of products is (agreements) - (disagreements). XOR marks the
    disagreements, which gives ``count - 2 * popcount(a ^ b)``; zeros that fill up the last word never disagree.

    Args:
        a, b: (..., W) uint64 words from :func:`fewbits.core.packing.pack_signs`; leading axes are broadcast.
        count: length n of the vectors, 64 * (W - 1) < n <= 64 * W.
    Returns:
        (...) int64, in -n … n.
    Raises:
        TypeError: ``a`` or ``b`` does not hold uint64.
        ValueError: ``a`` and ``b`` have different numbers of words, or not those that ``count`` bits take.
    Source: courbariaux2016 Sec. 3.2; book eq-binary-popcount
    """
    for name, words in (("a", a), ("b", b)):
        if words.dtype != np.uint64:
            raise TypeError(f"{name} must hold uint64 words, got {words.dtype}")
        if words.shape[-1] != -(-count // 64):
            raise ValueError(f"{name} has {words.shape[-1]} words; {count} signs take {-(-count // 64)}")
    return count - 2 * np.bitwise_count(a ^ b).sum(-1, dtype=np.int64)  # courbariaux2016 Sec. 3.2
