"""A BinaryNet on packed bits: linear layers of signs, batch normalization and sign as one threshold per unit.

The first layer's inputs are pixels of 8 bits, taken plane by plane (courbariaux2016). The sign of a normalized sum
only asks on which side of a threshold the sum is; sums are integers, so the threshold may be one too. Where the
normalization's weight is negative, the unit's weights change their signs and "at most" becomes "at least".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.bitwise.gemm import Weights, prepare, signs_gemm, xnor_gemm
from fewbits.bitwise.pack import bit_planes, threshold_words
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.graph import Call, read
from fewbits.core.quantizer import encode_weights

_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class PackedLayer:
    """Signs of (N, K) weights, and N thresholds; the last layer has a factor and a bias instead.

    What a layer has not is empty.
    """

    weights: Weights
    inputs: int
    limits: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    factor: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    bias: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))


@dataclass(frozen=True)
class PackedNetwork:
    """What :func:`pack_network` makes."""

    layers: tuple[PackedLayer, ...]

    def hidden(self, pixels: np.ndarray, threads: int = 1) -> list[np.ndarray]:
        """Packed signs after each hidden layer, each (M, ceil(units / 64)) uint64.

        Args:
            pixels: (M, K) uint8.
        """
        signs: list[np.ndarray] = []
        for layer in self.layers[:-1]:
            if signs:
                sums = xnor_gemm(signs[-1], layer.weights, layer.inputs, threads)
            else:
                sums = signs_gemm(bit_planes(pixels, 8), layer.weights, threads=threads)
            signs.append(threshold_words(sums, layer.limits))
        return signs

    def __call__(self, pixels: np.ndarray, threads: int = 1) -> np.ndarray:
        """Logits (M, classes) float32 of ``pixels`` (M, K) uint8."""
        last = self.layers[-1]
        sums = xnor_gemm(self.hidden(pixels, threads)[-1], last.weights, last.inputs, threads)
        return sums.astype(np.float32) * last.factor + last.bias

    def nbytes(self) -> int:
        """Bytes of all packed weights."""
        return sum(layer.weights.words.nbytes for layer in self.layers)


def pack_network(model: nn.Module, scale: float, offset: float) -> PackedNetwork:
    """Pack a trained BinaryNet of linear layers. The words are the sign codes of the weights; none becomes a float.

    Args:
        model: calls ``flatten(1)``, then a linear layer, ``BatchNorm1d`` and a sign quantizer for each hidden layer,
            then a linear layer, and perhaps ``BatchNorm1d``; in evaluation mode. All weights have sign codes of scale 1
            (:func:`fewbits.core.quantizer.encode_weights`), and hidden layers have no bias.
        scale, offset: the network was trained on ``scale * pixel + offset``, scale > 0.
    Raises:
        ValueError: the calls are others, branch or call a layer twice, a normalization is in training mode or has no
            running statistics, or weights have other codes; the message names the module.
    """
    calls = [call for call in read(model).chain() if call.op != "identity"]
    final = calls.pop() if calls[-1].op == "batch_norm" else None
    words = [call.op for call in calls]
    hidden = (len(calls) - 2) // 3
    if hidden < 1 or words != ["flatten", *["linear", "batch_norm", "quantizer"] * hidden, "linear"]:
        form = "flatten, (linear, normalization, sign) for each hidden layer, linear, perhaps normalization"
        raise ValueError(f"model must be {form}; got {', '.join(map(str, calls))}")
    if calls[0].settings != {"start_dim": 1, "end_dim": -1}:
        raise ValueError(f"{calls[0]} must flatten all but the batch")
    codes, layers = encode_weights(model), list[PackedLayer]()
    for linear, norm, sign in zip(calls[1:-1:3], calls[2:-1:3], calls[3:-1:3], strict=True):
        if not _is_sign(sign.module):
            raise ValueError(f"{sign} is no sign: it must give -1 below 0 and +1 from 0 on")
        bits = _sign_bits(codes, linear)
        if getattr(linear.module, "bias", None) is not None:
            raise ValueError(f"{linear}: hidden layers must be without bias")
        mean, deviation, gamma, beta = _normalization(norm)
        if not layers:  # sums of pixels: the offset, times the sum of the weights, goes to the mean
            mean = (mean - offset * (2 * bits.sum(1) - bits.shape[1])) / scale
            deviation = deviation / scale
        negative = gamma < 0
        flip = torch.where(negative, -1.0, 1.0)
        limits = _least_integer(mean * flip, deviation, gamma * flip, beta)
        layers.append(PackedLayer(_words(bits ^ negative[:, None]), bits.shape[1], limits))
    last = calls[-1]
    bits = _sign_bits(codes, last)
    given = getattr(last.module, "bias", None)
    factor, bias = torch.ones(len(bits), dtype=torch.float64), torch.zeros(len(bits), dtype=torch.float64)
    if given is not None:
        bias = given.detach().double()
    if final is not None:
        mean, deviation, gamma, beta = _normalization(final)
        factor, bias = gamma / deviation, (bias - mean) * gamma / deviation + beta
    ends = {"factor": factor.float().numpy(), "bias": bias.float().numpy()}
    layers.append(PackedLayer(_words(bits), bits.shape[1], **ends))
    return PackedNetwork(tuple(layers))


def _is_sign(quantizer: nn.Module | None) -> bool:
    probe = torch.tensor([-3.0, -0.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 3.0])
    return quantizer is not None and torch.equal(quantizer(probe), torch.where(probe < 0, -1.0, 1.0))


def _sign_bits(codes: Mapping[str, StoredForm], call: Call) -> Tensor:
    """Sign codes of a layer's weight, 1 for +1: (N, K) int64."""
    form = codes.get(call.name)
    if not isinstance(form, Codes) or form.levels is None or form.levels.tolist() != [-1, 1] or (form.scale != 1).any():
        raise ValueError(f"{call}: the weights must be sign codes of scale 1, those of BinaryConnect")
    return form.values.long()


def _words(bits: Tensor) -> Weights:
    return prepare(bit_planes(bits.to(torch.uint8).numpy(), 1)[0])


def _normalization(call: Call) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, deviation, gamma and beta of each unit, float64."""
    norm = call.module
    if not isinstance(norm, nn.BatchNorm1d) or norm.running_mean is None or norm.running_var is None or norm.training:
        raise ValueError(f"{call} must be a BatchNorm1d with running statistics, in evaluation mode")
    mean, deviation = norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt()
    if not norm.affine:
        return mean, deviation, torch.ones_like(mean), torch.zeros_like(mean)
    return mean, deviation, norm.weight.detach().double(), norm.bias.detach().double()


def _least_integer(mean, deviation, gamma, beta) -> np.ndarray:
    """For each unit the smallest integer s with ``(s - mean) / deviation * gamma + beta >= 0``, gamma >= 0."""
    limits = []
    for m, d, g, b in zip(mean.tolist(), deviation.tolist(), gamma.tolist(), beta.tolist(), strict=True):
        if g == 0:
            limits.append(-_LIMIT if b >= 0 else _LIMIT)
        else:
            limits.append(int(max(-_LIMIT, min(_LIMIT, math.ceil(m - b * d / g)))))
    return np.array(limits, np.int32)
