"""Incremental Network Quantization (zhou2017): weights become 0 or ± a power of two, a part at a time.

One tensor has one codebook ``P = {0, ±2^n2, …, ±2^n1}``. INQ freezes the largest weights of a trained network on it,
trains the others on, freezes more of them, and so on until nothing is left to train.

**The code of a weight**, as hardware reads it, is a field of ``bits`` bits: the top bit is the sign, the others are e.

=====  =============================  ======================
sign   e                              weight
=====  =============================  ======================
0      0                              0: no shift, no sum
0      1 … 2^(bits - 2)               ``+2^(n2 + e - 1)``
1      1 … 2^(bits - 2)               ``-2^(n2 + e - 1)``
=====  =============================  ======================

At 5 bits these are the fields 0 … 8 and 17 … 24: 17 codewords of 32. The others never occur. A tensor is stored as its
fields, packed by :mod:`fewbits.core.packing`, and ``2^n2``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.checks import check_bits, check_finite, working_precision
from fewbits.core.codes import Codes
from fewbits.core.quantizer import Quantizer, weight_layers
from fewbits.core.ste import straight_through

MAX_BITS = 7  # at 8 bits the codewords span 64 octaves, more than one integer table can hold

# Share of the weights that is frozen after each stage (zhou2017, Sec. 3).
ALEXNET = (0.3, 0.6, 0.8, 1.0)
GOOGLENET = (0.2, 0.4, 0.6, 0.8, 1.0)


def halving(stages: int) -> tuple[float, ...]:
    """Freeze half of what is left at each stage and all at the last one: (0.5, 0.75, 0.875, 1) for 4 stages.

    4 stages are zhou2017's schedule of ResNet-18 and VGG-16; yokota2024 halves too, without the number of stages.

    Raises:
        ValueError: ``stages`` is below 1.
    """
    if stages < 1:
        raise ValueError(f"stages must be at least 1, got {stages}")
    return (*(1 - 0.5**stage for stage in range(1, stages)), 1.0)


# --- Codebook --------------------------------------------------------------------------------------------------------


def _check_inq_bits(bits: int) -> int:
    if check_bits(bits, minimum=2) > MAX_BITS:
        raise ValueError(f"bits must lie between 2 and {MAX_BITS}, got {bits}")
    return bits


def lowest_exponent(n1: int, bits: int) -> int:
    """n2, so that exponents n2 … n1 are 2^(bits - 2) in number: ``n1 + 1 - 2^(bits - 1) / 2`` (zhou2017, Sec. 2.1)."""
    return n1 + 1 - 2 ** (_check_inq_bits(bits) - 2)


def _exponent_limits(dtype: torch.dtype, bits: int) -> tuple[int, int]:
    """Least and greatest n1 with which every codeword is a normal number of ``dtype``."""
    low, high = (math.frexp(limit)[1] for limit in (torch.finfo(dtype).tiny, torch.finfo(dtype).max))
    return low - 1 + 2 ** (bits - 2) - 1, high - 1


def largest_exponent(x: Tensor, bits: int) -> int:
    """n1 = ⌊log2(4·max|x| / 3)⌋ (zhou2017, Sec. 2.1): 2^n1 is the power of two nearest to the largest magnitude.

    All zero gives 0. n1 is moved as far as needed for all codewords to be normal numbers of the dtype.

    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, or holds NaN or Inf; ``bits`` is out of range.
    """
    x = working_precision(check_finite(x))
    low, high = _exponent_limits(x.dtype, _check_inq_bits(bits))
    mantissa, exponent = math.frexp(x.detach().abs().max().item())  # the mantissa lies in [1/2, 1), or is 0
    return min(max(exponent - (mantissa < 0.75), low), high) if mantissa else 0


def least_error_exponent(x: Tensor, bits: int) -> int:
    """The n1 of least squared error: the paper's, or up to three below it. Not in the paper.

    A smaller n1 clips the few largest weights and has more codewords for the many small ones.

    Raises:
        TypeError, ValueError: as :func:`largest_exponent`.
    """
    n1 = largest_exponent(x, bits)
    low, _ = _exponent_limits(working_precision(x).dtype, bits)
    wide = x.detach().double()
    return min(
        range(n1, max(n1 - 4, low - 1), -1), key=lambda each: (InqQuantizer(bits, each)(wide) - wide).square().sum()
    )


class InqQuantizer(Quantizer):
    """The nearest codeword: 0 or ± a power of two; the gradient passes unchanged (INQ itself makes no use of it).

    For neighbours α < β of the codebook, β is chosen where (α + β)/2 ≤ |w| < 3β/2 (zhou2017, Sec. 2.1): nearest on the
    linear scale, a tie goes away from 0. From 3·2^n1/2 on, where only an ``n1`` given from outside lets a weight be,
    the codeword is ±2^n1. NaN and ±Inf, empty tensors and other than floating point dtypes are refused; half precision
    is computed in float32. All zero gives zeros, never -0.0.

    Args:
        bits: 2 to 7; there are 2^(bits - 1) + 1 codewords.
        n1: largest exponent, or None for that of each tensor, :func:`largest_exponent`.
    Raises:
        TypeError, ValueError: ``bits`` is out of range, or ``n1`` is no integer. In use also: a codeword would not be a
            normal number of the dtype.
    """

    def __init__(self, bits: int = 5, n1: int | None = None):
        super().__init__()
        if n1 is not None and (isinstance(n1, bool) or not isinstance(n1, int)):
            raise TypeError(f"n1 must be an int or None, got {type(n1).__name__}")
        self.bits, self.n1 = _check_inq_bits(bits), n1

    def levels(self) -> Tensor:
        """The weight of every field in units of 2^n2, int64: indexed by the field, 0 where no codeword is."""
        half, count = 2 ** (self.bits - 1), 2 ** (self.bits - 2)
        levels = torch.zeros(half + count + 1, dtype=torch.int64)
        levels[1 : count + 1] = 2 ** torch.arange(count)
        levels[half + 1 :] = -levels[1 : count + 1]
        return levels

    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_finite(x)).detach()
        n1 = largest_exponent(x, self.bits) if self.n1 is None else self.n1
        low, high = _exponent_limits(x.dtype, self.bits)
        if not low <= n1 <= high:
            raise ValueError(f"n1 must lie between {low} and {high} for {self.bits} bits in {x.dtype}, got {n1}")
        scale = torch.tensor(2.0 ** lowest_exponent(n1, self.bits), dtype=x.dtype, device=x.device)
        levels = self.levels().to(x.device)
        magnitudes = levels[: 2 ** (self.bits - 2) + 1].to(x.dtype)
        borders = (magnitudes[:-1] + magnitudes[1:]) / 2
        e = torch.bucketize((x.abs() / scale).contiguous(), borders, right=True)  # dividing by a power of two is exact
        fields = e + 2 ** (self.bits - 1) * ((x < 0) & (e > 0))
        return Codes(fields.to(torch.uint8), self.bits, scale, levels=levels, signed=False)

    def forward(self, x: Tensor) -> Tensor:
        return straight_through(working_precision(check_finite(x)), self.encode(x).decode())

    def extra_repr(self) -> str:
        return f"bits={self.bits}, n1={self.n1}"


# --- Schedule --------------------------------------------------------------------------------------------------------


class PartlyFrozen(nn.Module):
    """Parametrization of :class:`Inq`: frozen elements keep their codeword, the others are what the optimizer trains.

    The optimizer holds the latent tensor. Whatever it does to a frozen element there, by momentum, decay or otherwise,
    has no way to the weight; and no gradient comes back to it.
    """

    def __init__(self, weight: Tensor, n1: int):
        super().__init__()
        self.register_buffer("frozen", torch.zeros_like(weight, dtype=torch.bool))
        self.register_buffer("fixed", torch.zeros_like(weight, requires_grad=False))
        self.register_buffer("n1", torch.tensor(n1))

    def forward(self, latent: Tensor) -> Tensor:
        return torch.where(self.frozen, self.fixed, latent)


class Inq:
    """The schedule of INQ over any network: its layers' parameters are frozen on their codebooks step by step.

    ::

        inq = Inq(model)
        for fraction in halving(4):
            inq.step(fraction)  # freeze
            ...                 # train what is left, with a new optimizer; nothing is left after the last step
        codes = inq.encode()    # what hardware stores
        inq.finish()            # model has plain parameters again

    Of each tensor the same share is frozen, largest magnitude first, and n1 is that of the tensor when this object is
    made: a weight that later outgrows 3·2^n1/2 becomes ±2^n1.

    A frozen weight never changes again, whatever the optimizer (:class:`PartlyFrozen`). All state lies in buffers of
    ``model``, so in its ``state_dict``: to resume, make the same object over the same model, load the state, and go on.
    A step to the fraction that is reached already changes nothing.

    Args:
        model: changed in place. Linear and convolution layers count.
        bits: bits per code, 2 to 7.
        biases: quantize the biases too, each with a codebook of its own. They must follow from folding, as a batch
            normalization after a quantized layer multiplies its weights off the grid.
        partition: "magnitude", or "random" for comparison.
        seed: of the random partition.
        choose_n1: (tensor, bits) -> n1.
    Raises:
        ValueError: ``model`` has no such layer, a parameter is parametrized already or shared by layers, ``partition``
            is unknown, ``bits`` is out of range, or a parameter holds NaN or Inf.
        TypeError: a parameter is of half precision: train such networks with autocast.
    """

    def __init__(
        self,
        model: nn.Module,
        bits: int = 5,
        *,
        biases: bool = False,
        partition: str = "magnitude",
        seed: int = 0,
        choose_n1: Callable[[Tensor, int], int] = largest_exponent,
    ):
        if partition not in ("magnitude", "random"):
            raise ValueError(f"partition must be 'magnitude' or 'random', got {partition!r}")
        self.model, self.bits, self.partition, self.seed = model, _check_inq_bits(bits), partition, seed
        places = {}  # name of the parameter -> its layer and its name there
        for name, layer in weight_layers(model).items():
            if parametrize.is_parametrized(layer):
                raise ValueError(f"the parameters of {name!r} are parametrized already")
            for kind in ("weight", "bias") if biases else ("weight",):
                if getattr(layer, kind) is not None:
                    places[f"{name}.{kind}" if name else kind] = layer, kind
        if not places:
            raise ValueError("model has no linear or convolution layer to quantize")
        tensors = {name: getattr(layer, kind) for name, (layer, kind) in places.items()}
        if len({id(tensor) for tensor in tensors.values()}) < len(tensors):
            raise ValueError("model has a parameter that several layers share: its parts would be frozen twice")
        for name, tensor in tensors.items():
            check_finite(tensor, name)
            if tensor.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")
        self.parts = {}
        for name, (layer, kind) in places.items():
            tensor = tensors[name]
            part = PartlyFrozen(tensor, choose_n1(tensor.detach(), bits)).to(tensor.device)
            parametrize.register_parametrization(layer, kind, part)
            self.parts[name] = (layer, kind, part)

    @property
    def share(self) -> float:
        """Share of the parameters under quantization that is frozen."""
        frozen = sum(int(part.frozen.sum()) for _, _, part in self.parts.values())
        return frozen / sum(part.frozen.numel() for _, _, part in self.parts.values())

    @torch.no_grad()
    def step(self, fraction: float) -> None:
        """Freeze until ``round(fraction * numel)`` elements of each tensor are frozen, those from before among them.

        Elements of equal magnitude are taken in row-major order.

        Raises:
            ValueError: ``fraction`` is not in (0, 1], fewer elements than now would be frozen, or a parameter holds NaN
                or Inf. Nothing has changed then.
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
        for name, (layer, kind, part) in self.parts.items():
            check_finite(getattr(layer, kind), name)
            if round(fraction * part.frozen.numel()) < part.frozen.sum():
                raise ValueError(f"fraction {fraction} is less than what is frozen of {name} already")
        for index, (layer, kind, part) in enumerate(self.parts.values()):
            weight = getattr(layer, kind)
            first = self._priority(weight, index).masked_fill(part.frozen.flatten(), torch.inf)
            chosen = first.argsort(descending=True, stable=True)[: round(fraction * weight.numel())]
            selected = torch.zeros_like(first, dtype=torch.bool)
            selected[chosen] = True
            new = selected.reshape(weight.shape) & ~part.frozen
            part.fixed.copy_(torch.where(new, self._quantizer(part)(weight), part.fixed))
            part.frozen |= new

    def _priority(self, weight: Tensor, index: int) -> Tensor:
        """The larger, the sooner frozen: (numel,)."""
        if self.partition == "magnitude":
            return weight.abs().flatten()
        # The same numbers at every step, so that a resumed run needs no generator.
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        return torch.rand(weight.numel(), generator=generator).to(weight)

    def _quantizer(self, part: PartlyFrozen) -> InqQuantizer:
        return InqQuantizer(self.bits, int(part.n1))

    @torch.no_grad()
    def outgrown(self) -> dict[str, int]:
        """By parameter name: how many elements that are not frozen have reached 3·2^n1/2 and would be clipped."""
        counts = {}
        for name, (layer, kind, part) in self.parts.items():
            free = getattr(layer, kind)[~part.frozen]
            counts[name] = int((free.abs() >= 1.5 * 2.0 ** int(part.n1)).sum())
        return counts

    def encode(self) -> dict[str, Codes]:
        """The stored form of every parameter under quantization, by its name.

        Raises:
            ValueError: some elements are not frozen yet.
        """
        self._check_complete("encode")
        return {name: self._quantizer(part).encode(part.fixed) for name, (_, _, part) in self.parts.items()}

    def finish(self) -> nn.Module:
        """Turn the frozen values into plain parameters again, and return the model.

        Raises:
            ValueError: some elements are not frozen yet.
        """
        self._check_complete("finish")
        for layer, kind, _ in self.parts.values():
            parametrize.remove_parametrizations(layer, kind, leave_parametrized=True)
        self.parts = {}
        return self.model

    def _check_complete(self, verb: str) -> None:
        if not self.parts:
            raise ValueError(f"cannot {verb}: the schedule is finished")
        if self.share < 1:
            raise ValueError(f"cannot {verb}: {self.share:.1%} of the parameters are frozen, call step(1.0) first")
