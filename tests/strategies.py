"""What the property tests draw: floats that break careless code, tensors of them, odd memory layouts, bad inputs.

Importing this module loads the project's profile: no deadline (machines differ), the same examples in every run.
"""

from fractions import Fraction

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

settings.register_profile("fewbits", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("fewbits")

DTYPES = (torch.float32, torch.float64)
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
WIDTH = {torch.float32: 32, torch.float64: 64}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal shape, dtype and bit pattern: unlike ``torch.equal`` this tells 0.0 from -0.0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.detach().contiguous().numpy().tobytes() == b.detach().contiguous().numpy().tobytes()


def shapes(min_dims: int = 0, max_dims: int = 4, max_side: int = 4):
    """Shapes with at least one element."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=1, max_side=max_side)


def floats(dtype: torch.dtype = torch.float32, largest: float | None = None):
    """Finite floats up to ``largest`` in magnitude, by default an eighth of the greatest float.

    A third of them are special: both zeros, the least subnormal and normal numbers, halves (ties where the scale is a
    power of two), the border itself.
    """
    info = torch.finfo(dtype)
    largest = float(NUMPY[dtype](info.max / 8 if largest is None else largest))
    special = [0.0, -0.0, float(info.smallest_normal), float(np.nextafter(NUMPY[dtype](0), NUMPY[dtype](1))), 1.0]
    special += [k / 2 for k in range(-9, 10)] + [127.5, 32767.5, -0.1, 1 / 3, largest, -largest]
    special = [value for value in special if abs(value) <= largest]
    wide = st.floats(-largest, largest, width=WIDTH[dtype])
    usual = st.floats(-min(8.0, largest), min(8.0, largest), width=WIDTH[dtype])
    return st.one_of(st.sampled_from(special), usual, wide)


@st.composite
def tensors(draw, dtype=torch.float32, shape=None, elements=None, largest=None, odd_layouts=True):
    """A finite tensor, contiguous or not."""
    shape = draw(shapes()) if shape is None else shape
    elements = floats(dtype, largest) if elements is None else elements
    x = torch.from_numpy(draw(hnp.arrays(NUMPY[dtype], shape, elements=elements)))
    return draw(layouts(x)) if odd_layouts else x


@st.composite
def layouts(draw, x: Tensor):
    """``x`` as it is, transposed in memory, as every other element of a buffer full of NaN, or its first element
    expanded to the same shape (stride 0)."""
    kind = draw(st.sampled_from(["contiguous", "transposed", "strided", "expanded"]))
    if kind == "transposed":
        backwards = tuple(reversed(range(x.dim())))
        return x.permute(backwards).contiguous().permute(backwards)
    if kind == "strided" and x.dim():
        buffer = torch.full((*x.shape[:-1], 2 * x.shape[-1]), torch.nan, dtype=x.dtype)
        buffer[..., ::2] = x
        return buffer[..., ::2]
    if kind == "expanded" and x.dim():
        return x.flatten()[0].expand(x.shape)
    return x


@st.composite
def integers_of(draw, bits: int, signed: bool, max_size: int = 40):
    """A list of integers that fit a field of ``bits`` bits; both ends come up often."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return draw(st.lists(st.one_of(st.sampled_from([low, high]), st.integers(low, high)), max_size=max_size))


def quotient(x: float, scale: float, dtype: torch.dtype) -> float:
    """``x / scale`` rounded once to ``dtype``, computed without torch and without a float division."""
    exact = Fraction(x) / Fraction(scale)
    try:
        nearest = float(exact)  # correctly rounded to float64; rounding a float32 quotient twice changes nothing
    except OverflowError:
        nearest = float("inf") if exact > 0 else float("-inf")
    with np.errstate(over="ignore"):
        return float(NUMPY[dtype](nearest))


NAN, INF = float("nan"), float("inf")

# name: (argument, exception, what the message must say). All must be refused by whatever takes real numbers.
BAD_FLOATS = {
    "empty": (torch.empty(0), ValueError, "x is empty"),
    "empty matrix": (torch.empty(3, 0), ValueError, r"x is empty: shape \(3, 0\)"),
    "integers": (torch.arange(3), TypeError, "x must be a floating point tensor, got torch.int64"),
    "booleans": (torch.tensor([True]), TypeError, "x must be a floating point tensor, got torch.bool"),
    "complex": (torch.ones(2, dtype=torch.complex64), TypeError, "x must be a floating point tensor"),
    "eight bits": (torch.ones(2).to(torch.float8_e4m3fn), TypeError, "x must be a floating point tensor"),
    "list": ([1.0, 2.0], TypeError, "x must be a torch.Tensor, got list"),
    "array": (np.ones(3), TypeError, "x must be a torch.Tensor, got ndarray"),
    "None": (None, TypeError, "x must be a torch.Tensor, got NoneType"),
}
BAD_VALUES = {
    "NaN": (torch.tensor([1.0, NAN]), ValueError, "x holds NaN or Inf"),
    "Inf": (torch.tensor([1.0, INF]), ValueError, "x holds NaN or Inf"),
    "-Inf": (torch.tensor(-INF), ValueError, "x holds NaN or Inf"),
}
# name: (bits, exception)
BAD_BITS = {
    "zero": (0, ValueError),
    "negative": (-8, ValueError),
    "17": (17, ValueError),
    "True": (True, TypeError),
    "float": (8.0, TypeError),
    "numpy": (np.int64(8), TypeError),
    "text": ("8", TypeError),
    "None": (None, TypeError),
    "tensor": (torch.tensor(8), TypeError),
}
