"""Fixed point: integers that represent real numbers, with the point at a fixed place.

A number of format Qm.n is an integer of m + n bits in two's complement, n of them after the point; the sign is one of
the m. It represents ``integer / 2^n``. yokota2024 uses Q16.16: 32 bits, from -32,768 to just below 32,768 in steps of
2^-16. A circuit has no exception to raise: what does not fit wraps around or saturates.
"""

from dataclasses import dataclass

import numpy as np

OVERFLOWS = ("wrap", "saturate")


def check_overflow(overflow: str) -> str:
    """Return ``overflow`` if it is "wrap" or "saturate".

    Raises:
        ValueError: it is something else.
    Source: own (check)
    """
    if overflow not in OVERFLOWS:
        raise ValueError(f"overflow must be 'wrap' or 'saturate', got {overflow!r}")
    return overflow


@dataclass(frozen=True)
class QFormat:
    """Format Qm.n: ``integer_bits`` = m, with the sign, and ``fraction_bits`` = n. All arithmetic is exact on int64.

    Args:
        integer_bits: 1 to 32.
        fraction_bits: 0 to 31, at most 32 - ``integer_bits``.
    Raises:
        TypeError: one is no int.
        ValueError: one is out of range.
    Source: own (plain fixed point); yokota2024 Sec. 2.2 (Q16.16)
    """

    integer_bits: int = 16
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        for name, minimum in (("integer_bits", 1), ("fraction_bits", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, got {type(value).__name__}")
            if value < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {value}")
        if self.width > 32:
            raise ValueError(f"integer_bits + fraction_bits must be at most 32, got {self.width}")

    @property
    def width(self) -> int:
        """Bits of a number: m + n."""
        return self.integer_bits + self.fraction_bits

    @property
    def low(self) -> int:
        """The smallest integer, ``-2^(width - 1)``."""
        return -(1 << (self.width - 1))

    @property
    def high(self) -> int:
        """The largest integer, ``2^(width - 1) - 1``. It is one less than ``-low``."""
        return (1 << (self.width - 1)) - 1

    def overflows(self, values: np.ndarray) -> np.ndarray:
        """Which integers do not fit: bool of the shape of ``values`` (int64). ``overflows(v).sum()`` counts them."""
        values = _integers(values)
        return (values < self.low) | (values > self.high)

    def wrap(self, values: np.ndarray) -> np.ndarray:
        """Keep the low ``width`` bits: the integer in range that differs by a multiple of 2^width. int64."""
        span = np.int64(1) << self.width
        return ((_integers(values) - self.low) & (span - 1)) + self.low

    def saturate(self, values: np.ndarray) -> np.ndarray:
        """The nearest integer in range. int64."""
        return np.clip(_integers(values), self.low, self.high)

    def fit(self, values: np.ndarray, overflow: str = "wrap") -> np.ndarray:
        """:meth:`wrap` or :meth:`saturate`.

        Raises:
            TypeError: ``values`` are not integers.
            ValueError: ``overflow`` is neither.
        """
        return self.wrap(values) if check_overflow(overflow) == "wrap" else self.saturate(values)

    def encode(self, real: np.ndarray, overflow: str = "saturate") -> np.ndarray:
        """Real numbers into integers: the nearest, a tie goes up, as adding half a step and cutting off does. int64.

        Args:
            real: floating point of any shape. float64 holds ``real * 2^n`` exactly.
            overflow: what happens to a number out of range.
        Raises:
            TypeError: ``real`` is not floating point.
            ValueError: ``real`` holds NaN or Inf, or a number from 2^31 on in magnitude.
        """
        real = np.asarray(real)
        if not np.issubdtype(real.dtype, np.floating):
            raise TypeError(f"real must be floating point, got {real.dtype}")
        if not (np.abs(real) < 2.0**31).all():  # NaN fails too
            raise ValueError("real must be finite and below 2^31 in magnitude")
        scaled = np.ldexp(real.astype(np.float64), self.fraction_bits)
        whole = np.floor(scaled)
        # Not floor(scaled + 1/2): just below a half that sum would be rounded up to 1.
        return self.fit(whole.astype(np.int64) + (scaled - whole >= 0.5), overflow)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The real numbers that integers represent, float64, exact."""
        return np.ldexp(_integers(values).astype(np.float64), -self.fraction_bits)

    def __str__(self) -> str:
        return f"Q{self.integer_bits}.{self.fraction_bits}"


Q16_16 = QFormat(16, 16)


def _integers(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.integer):
        raise TypeError(f"values must be integers, got {values.dtype}")
    return values.astype(np.int64)
