"""Uniform quantization: real numbers to integers on evenly spaced steps (jacob2018, wu2020).

A real number r and an integer q stand for each other through ``r = scale * (q - zero_point)``. *Affine* quantization
places ``zero_point`` freely, so that any interval fits the integers; *symmetric* quantization fixes it at 0.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fewbits.core.checks import check_bits, check_channel_axis, check_finite, check_float, working_precision
from fewbits.core.codes import Codes
from fewbits.core.quantizer import Quantizer, calibrate, quantize_activations, quantize_weights
from fewbits.core.ste import fake_quantize, values_to_codes
from fewbits.uniform.calibration import max_range

RangeOf = Callable[[Tensor], tuple[Tensor, Tensor]]


def integer_range(bits: int, signed: bool = True, narrow: bool = False) -> tuple[int, int]:
    """Smallest and largest integer ``(q_min, q_max)``.

    Args:
        bits: 1 to 16 unsigned; 2 to 16 where ``narrow``.
        signed: −2^(bits−1) … 2^(bits−1)−1, else 0 … 2^bits−1.
        narrow: drop −2^(bits−1), so that the range is symmetric.
    Source: wu2020 Sec. 3.1; jacob2018 Sec. 3.1 (narrow range of weights)
    """
    check_bits(bits, minimum=2 if narrow else 1)
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1


def symmetric_scale(max_abs: Tensor, q_max: int) -> Tensor:
    """Scale that puts ``max_abs`` on the integer ``q_max``; 1 where ``max_abs`` is 0 (every code is then 0).

    Args:
        max_abs: >= 0, any shape.
        q_max: >= 1.
    Raises:
        ValueError: ``max_abs`` is negative, NaN, or so large that the grid would overflow; ``q_max`` is less than 1.
    Source: wu2020 Sec. 3.1.2 (whose s is the inverse); book eq-uniform-scale
    """
    return _step(max_abs, q_max)  # wu2020 Sec. 3.1.2


def affine_parameters(low: Tensor, high: Tensor, q_min: int, q_max: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point that spread ``low … high`` over ``q_min … q_max``.

    The interval is first widened to contain 0, so that 0 has an exact code: padding and ReLU produce it all the time.

    Returns:
        scale and zero_point, both in the dtype and shape of ``low``; zero_point holds integers in q_min … q_max.
    Raises:
        ValueError: ``low > high``, NaN, or an interval so wide that the grid would overflow; ``q_min >= q_max``.
    Source: jacob2018 Eq. 13; jacob2018 Sec. 3.1 (0 has an exact code); book eq-uniform-scale
    """
    if not (low <= high).all():
        raise ValueError(f"low must not exceed high, got low = {low.tolist()} and high = {high.tolist()}")
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = _step(high - low, q_max - q_min)  # jacob2018 Eq. 13
    zero_point = (q_min - torch.round(low / scale)).clamp(q_min, q_max)
    return scale, zero_point


def _step(width: Tensor, steps: int) -> Tensor:
    """``width / steps``, kept above the smallest normal number; 1 where ``width`` is 0."""
    if steps < 1:
        raise ValueError(f"q_max must lie above q_min (above 0 if symmetric), got {steps} steps")
    info = torch.finfo(width.dtype)
    if not ((width >= 0) & (width <= info.max / 4)).all():  # false for NaN as well
        raise ValueError(f"the range must be finite, far from overflow and not negative, got widths {width.tolist()}")
    return torch.where(width > 0, (width / steps).clamp(min=info.tiny), 1.0)


class UniformQuantizer(Quantizer):
    """Uniform quantizer, symmetric or affine, per tensor or per channel.

    The range comes from the input of each call (minimum and maximum: right for weights) until :meth:`set_range` fixes
    it (right for activations, whose range is calibrated once). The gradient passes inside the range and is 0 outside.

    A quantizer of activations (:func:`fewbits.core.quantizer.quantize_activations`) without a fixed range takes that of
    each batch in train mode and refuses to work in eval mode, where its result would depend on the other images of the
    batch. With ``running`` it keeps moving averages of minimum and maximum in train mode, quantizes with them, and
    leaves them as they are in eval mode.

    Odd inputs: ±Inf and NaN are refused while the range comes from the input. With a fixed range, ``forward`` lets NaN
    through as NaN and saturates ±Inf, and ``encode`` refuses both. Half precision is computed in float32.

    Args:
        bits: 2 to 16, or 1 to 16 where the integers are unsigned.
        symmetric: zero point 0 and a narrow range (−q_max … q_max); else affine.
        signed: False for symmetric data that is never negative, such as the output of a ReLU: all 2^bits codes go to
            the positive side, and negative inputs become 0. Affine codes are always unsigned.
        channel_axis: axis with a scale of its own for each index, or None for one scale.
        running: share of the newest batch in the moving averages, in (0, 1]; None for none.
    Raises:
        ValueError: ``bits`` or ``running`` is out of range; ``running`` with a ``channel_axis``.
    Source: jacob2018 Eq. 12; jacob2018 Eq. 13; jacob2018 Sec. 3.1 (moving averages); wu2020 Sec. 3.1; book eq-uniform
    """

    def __init__(
        self,
        bits: int,
        symmetric: bool = True,
        signed: bool = True,
        channel_axis: int | None = None,
        running: float | None = None,
    ):
        super().__init__()
        if running is not None and not (0 < running <= 1 and channel_axis is None):
            raise ValueError(f"running must lie in (0, 1], and channel_axis be None, got {running} and {channel_axis}")
        self.running = running
        self.bits, self.symmetric, self.channel_axis = bits, symmetric, channel_axis
        self.signed = signed and symmetric
        self.q_min, self.q_max = integer_range(bits, self.signed, narrow=self.signed)
        self.low: Tensor
        self.register_buffer("low", torch.tensor(torch.nan))
        self.high: Tensor
        self.register_buffer("high", torch.tensor(torch.nan))

    def set_range(self, low: Tensor | float, high: Tensor | float) -> None:
        """Fix the range to ``low … high``: scalars, or of the input's shape with all axes but ``channel_axis`` 1 long.

        The range is kept in the dtype of the module: float32, or float64 after ``.double()``. A range of 0 … 0 has
        nothing to say about the step: its scale is 1.

        Raises:
            ValueError: NaN, Inf, or ``low > high``.
        """
        low, high = (torch.as_tensor(bound).detach().to(self.low, copy=True) for bound in (low, high))
        if not (low.isfinite() & high.isfinite() & (low <= high)).all():
            raise ValueError(f"low and high must be finite with low <= high, got {low.tolist()} and {high.tolist()}")
        self.low, self.high = low, high

    def fit(self, x: Tensor, range_of: RangeOf = max_range) -> None:
        """Fix the range to what ``range_of`` says of ``x``: :func:`fewbits.core.quantizer.calibrate` calls it.

        Args:
            range_of: tensor to ``(low, high)``: a function of :mod:`fewbits.uniform.calibration`.
        Source: wu2020 Sec. 3.4
        """
        self.set_range(*range_of(x))  # wu2020 Sec. 3.4

    @torch.no_grad()
    def scale_and_zero_point(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale and zero point (None if symmetric) used for ``x``, in its dtype and broadcastable to it.

        Raises:
            ValueError: the fixed range is per channel, but does not have the shape that ``x`` asks for.
        """
        low, high = self._range(x)
        per_channel = check_channel_axis(x, self.channel_axis)
        if not {low.shape, high.shape} <= {(), per_channel}:
            raise ValueError(f"range of shape {tuple(low.shape)} for x of shape {tuple(x.shape)}: needs {per_channel}")
        low, high = low.to(x), high.to(x)
        if not self.symmetric:
            return affine_parameters(low, high, self.q_min, self.q_max)  # jacob2018 Eq. 13
        return symmetric_scale(
            torch.maximum(-low, high).clamp(min=0) if self.signed else high.clamp(min=0), self.q_max
        ), None

    def _range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum and maximum used for ``x``."""
        if self._fixed() and not (self.running and self.training):
            return self.low, self.high
        self.check_batch()
        low, high = max_range(x, self.channel_axis)
        if self.running and self.training:
            if self._fixed():
                low, high = (old + self.running * (new - old) for old, new in ((self.low, low), (self.high, high)))
            self.set_range(low, high)  # jacob2018 Sec. 3.1
        return low, high

    def _fixed(self) -> bool:
        return not self.low.isnan().any()

    def forward(self, x: Tensor) -> Tensor:
        x = working_precision(check_float(x))
        scale, zero_point = self.scale_and_zero_point(x)
        return fake_quantize(x, scale, zero_point, self.q_min, self.q_max)  # jacob2018 Eq. 12

    def encode(self, x: Tensor) -> Codes:
        x = working_precision(check_finite(x))
        scale, zero_point = self.scale_and_zero_point(x)
        # jacob2018 Eq. 12
        values, _ = values_to_codes(x, scale, 0 if zero_point is None else zero_point, self.q_min, self.q_max)
        return Codes(
            values.to(torch.int32),
            self.bits,
            scale,
            None if zero_point is None else zero_point.to(torch.int32),
            signed=self.signed,
        )

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for name in ("low", "high"):  # a saved range may be per channel: make room for its shape
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        kind = "symmetric" if self.symmetric else "affine"
        return f"bits={self.bits}, {kind}, {'signed' if self.signed else 'unsigned'}, channel_axis={self.channel_axis}"


def quantize_model(
    model: nn.Module,
    weight_bits: int,
    activation_bits: int,
    images: Tensor,
    channel_axis: int | None = 0,
    range_of: RangeOf = max_range,
) -> nn.Module:
    """A copy of ``model`` with all weights and all outputs of ReLU and ReLU6 on uniform grids, without training.

    Weights are symmetric, by default with one scale per output channel; activations are unsigned, per tensor, and
    calibrated on ``images``. Training the copy further is quantization-aware training.

    Source: wu2020 Sec. 4; wu2020 Sec. 3.2 (weights per channel)
    """
    model = copy.deepcopy(model)
    quantize_weights(model, lambda: UniformQuantizer(weight_bits, channel_axis=channel_axis), skip=())
    quantize_activations(model, lambda: UniformQuantizer(activation_bits, signed=False), (nn.ReLU, nn.ReLU6))
    return calibrate(model, images, range_of=range_of)


def integer_linear(x: Codes, weight: Codes, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A linear layer on integers: sums in integers, one real scale at the end.

    With ``x = s_x (q_x - z_x)`` and ``w = s_w q_w`` the layer's output is ``s_x s_w · Σ (q_x - z_x) q_w``. The sum is
    computed as ``Σ q_x q_w - z_x Σ q_w``; its second part does not depend on the input and can be stored beforehand.
    (:class:`fewbits.integer.steps.Layer` computes the same sum as jacob2018 Eq. 4 has it: the zero point is subtracted
    from each code first.)

    Args:
        x: (N, K) codes on a uniform grid with one scale.
        weight: (M, K) symmetric codes with one scale, or one per row (M, 1).
        bias: (M,) real, or None; it is rounded to an int32 at scale ``s_x s_w``, ties to even.
    Returns:
        accumulator (N, M) int64, every value within int32; scale () or (M,) with ``real = accumulator * scale``.
    Raises:
        ValueError: ``weight`` has a zero point, either operand is coded by a table or has another shape or other
            scales than these, ``bias`` holds NaN or Inf, or an int32 would overflow.
    Source: jacob2018 Eq. 7 (weights without a zero point); jacob2018 Eq. 8; jacob2018 Eq. 9; jacob2018 Eq. 11; book
        eq-integer-linear
    """
    if weight.zero_point is not None or x.levels is not None or weight.levels is not None:
        raise ValueError("integer_linear needs uniform codes, and a weight without zero_point")
    if x.values.dim() != 2 or weight.values.dim() != 2:
        raise ValueError("integer_linear needs matrices of codes, x (N, K) and weight (M, K)")
    rows = len(weight.values)
    if x.scale.dim() or weight.scale.shape not in {(), (rows, 1)}:
        raise ValueError("integer_linear needs one scale for x, and one for weight or for each of its rows")
    if bias is not None and check_finite(bias, "bias").shape != (rows,):
        raise ValueError(f"bias must have shape ({rows},), got {tuple(bias.shape)}")
    q_x, q_w = x.values.long(), weight.values.long()
    accumulator = q_x @ q_w.T  # jacob2018 Eq. 9
    if x.zero_point is not None:
        # jacob2018 Eq. 7; the sums of rows are jacob2018 Eq. 8
        accumulator = accumulator - x.zero_point.long() * q_w.sum(dim=1)
    scale = (x.scale * weight.scale).reshape(-1) if weight.scale.dim() else x.scale * weight.scale
    if bias is not None:
        steps = torch.round(bias / scale)  # jacob2018 Eq. 11
        if not (steps.abs() < 2**31).all():  # false for NaN as well: 0 / 0, where the scale underflowed
            raise ValueError("bias does not fit an int32 at the scale of the sum")
        accumulator = accumulator + steps.long()
    if accumulator.numel() and accumulator.abs().max() >= 2**31:
        raise ValueError("the sum does not fit an int32 accumulator")
    return accumulator, scale
