"""The codebook of INQ (zhou2017): 0 and ± powers of two, the code of each, and the exponents that a tensor takes.

One tensor has one codebook ``P = {0, ±2^n2, …, ±2^n1}``.

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
from typing import cast

import torch
from torch import Tensor, nn

from fewbits.core.checks import check_bits, check_finite, working_precision
from fewbits.core.codes import Codes, StoredForm
from fewbits.core.powers import signed_powers
from fewbits.core.quantizer import Quantizer, encode_parameters, weight_layers
from fewbits.core.ste import straight_through

MAX_BITS = 7  # at 8 bits the codewords span 64 octaves, more than one integer table can hold


def check_inq_bits(bits: int) -> int:
    """Return ``bits`` if INQ has a codebook of so many: 2 to 7; TypeError or ValueError if not.

    Source: own (check)
    """
    if check_bits(bits, minimum=2) > MAX_BITS:
        raise ValueError(f"bits must lie between 2 and {MAX_BITS}, got {bits}")
    return bits


def lowest_exponent(n1: int, bits: int) -> int:
    """n2, so that exponents n2 … n1 are 2^(bits - 2) in number: ``n1 + 1 - 2^(bits - 1) / 2``.

    Source: zhou2017 Sec. 2.1 (unnumbered)
    """
    return n1 + 1 - 2 ** (check_inq_bits(bits) - 2)  # zhou2017 Sec. 2.1


def _exponent_limits(dtype: torch.dtype, bits: int) -> tuple[int, int]:
    """Minimum and maximum n1 with which every codeword is a normal number of ``dtype``."""
    low, high = (math.frexp(limit)[1] for limit in (torch.finfo(dtype).tiny, torch.finfo(dtype).max))
    return low - 1 + 2 ** (bits - 2) - 1, high - 1


def largest_exponent(x: Tensor, bits: int) -> int:
    """n1 = ⌊log2(4·max|x| / 3)⌋: 2^n1 is the power of two nearest to the largest magnitude.

    All zero gives 0. n1 is moved as far as needed for all codewords to be normal numbers of the dtype.

    Raises:
        TypeError, ValueError: ``x`` is not floating point, is empty, or holds NaN or Inf; ``bits`` is out of range.
    Source: zhou2017 Eq. 2; zhou2017 Eq. 3 (s = max|W|); book eq-inq-codebook
    """
    x = working_precision(check_finite(x))
    low, high = _exponent_limits(x.dtype, check_inq_bits(bits))
    # zhou2017 Eq. 3
    mantissa, exponent = math.frexp(x.detach().abs().max().item())  # the mantissa lies in [1/2, 1), or is 0
    return min(max(exponent - (mantissa < 0.75), low), high) if mantissa else 0  # zhou2017 Eq. 2


def least_error_exponent(x: Tensor, bits: int) -> int:
    """The n1 with the smallest squared error: the paper's, or up to three below it. Not in the paper.

    A smaller n1 clips the few largest weights and has more codewords for the many small ones.

    Raises:
        TypeError, ValueError: as :func:`largest_exponent`.
    Source: own (least squared error)
    """
    n1 = largest_exponent(x, bits)
    low, _ = _exponent_limits(working_precision(x).dtype, bits)
    wide = x.detach().double()
    return min(
        range(n1, max(n1 - 4, low - 1), -1), key=lambda each: (InqQuantizer(bits, each)(wide) - wide).square().sum()
    )


class InqQuantizer(Quantizer):
    """The nearest codeword: 0 or ± a power of two; the gradient passes unchanged (INQ itself does not use it).

    For neighbours α < β of the codebook, β is chosen where (α + β)/2 ≤ |w| < 3β/2: nearest on the linear scale, with
    ties away from 0. From 3·2^n1/2 on, which a weight can reach only if ``n1`` was given from outside,
    the codeword is ±2^n1. NaN and ±Inf, empty tensors and other than floating point dtypes are refused; half precision
    is computed in float32. All zero gives zeros, never -0.0.

    Args:
        bits: 2 to 7; there are 2^(bits - 1) + 1 codewords.
        n1: largest exponent, or None for that of each tensor, :func:`largest_exponent`.
    Raises:
        TypeError, ValueError: ``bits`` is out of range, or ``n1`` is no integer. In use also: a codeword would not be a
            normal number of the dtype.
    Source: zhou2017 Eq. 4; own (clipping from 3·2^n1/2 on, 5-bit fields); book eq-inq-nearest
    """

    def __init__(self, bits: int = 5, n1: int | None = None):
        super().__init__()
        if n1 is not None and (isinstance(n1, bool) or not isinstance(n1, int)):
            raise TypeError(f"n1 must be an int or None, got {type(n1).__name__}")
        self.bits, self.n1 = check_inq_bits(bits), n1
        self.weights_only = n1 is None

    def levels(self) -> Tensor:
        """The weight of every field in units of 2^n2, int64: :func:`fewbits.core.powers.signed_powers`.

        Source: zhou2017 Eq. 1; book eq-inq-codebook
        """
        return signed_powers(self.bits)  # zhou2017 Eq. 1

    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_finite(x)).detach()
        n1 = largest_exponent(x, self.bits) if self.n1 is None else self.n1
        low, high = _exponent_limits(x.dtype, self.bits)
        if not low <= n1 <= high:
            raise ValueError(f"n1 must lie between {low} and {high} for {self.bits} bits in {x.dtype}, got {n1}")
        scale = torch.tensor(2.0 ** lowest_exponent(n1, self.bits), dtype=x.dtype, device=x.device)
        levels = self.levels().to(x.device)
        magnitudes = levels[: 2 ** (self.bits - 2) + 1].to(x.dtype)
        borders = (magnitudes[:-1] + magnitudes[1:]) / 2  # zhou2017 Eq. 4
        # zhou2017 Eq. 4
        e = torch.bucketize((x.abs() / scale).contiguous(), borders, right=True)  # dividing by a power of two is exact
        fields = e + 2 ** (self.bits - 1) * ((x < 0) & (e > 0))
        return Codes(fields.to(torch.uint8), self.bits, scale, levels=levels, signed=False)

    def forward(self, x: Tensor) -> Tensor:
        return straight_through(working_precision(check_finite(x)), self.encode(x).decode())

    def extra_repr(self) -> str:
        return f"bits={self.bits}, n1={self.n1}"


def exponent_of(codes: StoredForm, name: str = "codes") -> int:
    """n1 of INQ codes: their largest exponent, read off the scale 2^n2.

    Raises:
        ValueError: these are other codes; the message starts with ``name``.
    Source: own (reading of codes); zhou2017 Sec. 2.1 (n1 from n2)
    """
    if not isinstance(codes, Codes) or codes.levels is None or codes.scale.numel() != 1:
        raise ValueError(f"{name} must be codes of INQ, got {type(codes).__name__} without its table or its one scale")
    mantissa, exponent = math.frexp(codes.scale.item())
    if not torch.equal(codes.levels.cpu(), signed_powers(check_inq_bits(codes.bits))) or mantissa != 0.5:
        raise ValueError(f"{name} must be codes of INQ: fields of a sign and an exponent, and a scale 2^n2")
    return exponent - 1 + 2 ** (codes.bits - 2) - 1


def encode_frozen(model: nn.Module, bits: int = 5) -> dict[str, Codes]:
    """INQ codes of every weight and bias of the linear and convolution layers, by parameter name.

    Parameters that have codes (a complete :class:`fewbits.inq.Inq`, or
    :func:`fewbits.core.quantizer.attach_codes`) give these. For a plain parameter on a codebook of ``bits``
    bits the codes are found again: n1 is that of its largest weight, so it may be smaller than the n1 that INQ had, and
    the fields larger by as much; they represent the same numbers.

    Raises:
        ValueError: a parameter is on no such codebook; the message names it.
    Source: own (reading of a network)
    """
    known, found = encode_parameters(model), dict[str, Codes]()
    for layer_name, layer in weight_layers(model).items():
        for kind in ("weight", "bias"):
            parameter = getattr(layer, kind)
            if parameter is None:
                continue
            name = f"{layer_name}.{kind}" if layer_name else kind
            codes = known[name] if name in known else InqQuantizer(bits).encode(parameter)
            exponent_of(codes, name)
            if not torch.equal(codes.decode(), parameter.detach()):
                raise ValueError(f"{name} is not on its codebook of {bits} bits: quantize it with INQ first")
            found[name] = cast(Codes, codes)  # exponent_of has looked
    return found
