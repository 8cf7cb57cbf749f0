"""AdaRound (nagel2020): learn for each weight whether it is rounded up or down.

A weight lies between two points of its grid. A number between 0 and 1, a stretched sigmoid of a variable that Adam
moves, says where between them it is put; a penalty that grows in the course of the steps drives it to one of the ends.
The error of the layer's output is that of GPTQ, so the second moments of the inputs are all that is needed here, too.
"""

import torch
from torch import Tensor

from fewbits.compensation.grids import better_rows, grid_of, with_values
from fewbits.compensation.moments import grouped, output_error
from fewbits.core.checks import check_finite
from fewbits.core.codes import StoredForm

ZETA, GAMMA = 1.1, -0.1  # the sigmoid is stretched to this interval, so that it reaches 0 and 1 (nagel2020)


def rectified_sigmoid(v: Tensor) -> Tensor:
    """``clip(sigmoid(v) * 1.2 - 0.1, 0, 1)``: where between its two neighbours a weight is put.

    Source: nagel2020 Sec. 3.3 (h); book eq-compensation-adaround
    """
    # nagel2020 Sec. 3.3
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)  # book eq-compensation-adaround


def indecision(h: Tensor, beta: float) -> Tensor:
    """``sum(1 - |2h - 1|^beta)``: 0 where every number is 0 or 1; a large beta leaves those near the middle alone.

    Source: nagel2020 Sec. 3.3 (regularizer)
    """
    return (1 - (2 * h - 1).abs().pow(beta)).sum()  # nagel2020 Sec. 3.3


def adaround(
    weight: Tensor,
    codes: StoredForm,
    moments: Tensor,
    *,
    steps: int = 1000,
    lr: float = 0.03,
    penalty: float = 10.0,
    keep_better: bool = True,
) -> StoredForm:
    """Codes of ``weight`` on the grid of ``codes``, each one of the two neighbours of its weight, learned by Adam.

    The error is measured in units of that of ``codes``, so that ``penalty`` means the same in every layer; for the
    first fifth of the steps there is none, then beta falls from 20 to 2. The activation function after the layer is
    left out, and so are the inputs of the quantized network in place of the float one: moments are what is given.

    Args:
        weight: (M, …) floating point, finite.
        codes: of ``weight``, from any quantizer with a code for each weight.
        moments: (groups, K, K), as :func:`fewbits.compensation.second_moments` gives them.
        steps: of Adam, at least 1.
        lr: its step size.
        penalty: weight of the mean indecision of a weight, beside an error of 1.
        keep_better: keep ``codes`` for outputs where they have the smaller error.
    Returns:
        Codes of the same form and size.
    Raises:
        TypeError, ValueError: ``weight`` or ``moments`` hold NaN or Inf, a shape does not fit, or ``steps`` is less
            than 1.
    Source: nagel2020 Sec. 3.3; own (second moments, units, the better of two)
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if check_finite(weight, "weight").shape != codes.shape:
        raise ValueError(f"codes have shape {tuple(codes.shape)}, weight {tuple(weight.shape)}")
    moments, grid = moments.double(), grid_of(codes)
    target = weight.detach().double()
    below = grid.below(target)
    low, high = grid.real(below), grid.real(torch.minimum(below + 1, grid.high))
    gap = torch.where(high > low, high - low, 1.0)
    start = ((target - low) / gap).clamp(0.01, 0.99)
    v = torch.logit((start - GAMMA) / (ZETA - GAMMA)).requires_grad_(True)
    before = output_error(target, codes.decode(), moments)
    unit = max(before.sum().item(), torch.finfo(torch.float64).tiny)
    optimizer = torch.optim.Adam([v], lr=lr)
    warm = steps // 5
    with torch.enable_grad():  # a caller may have switched it off
        for step in range(steps):
            optimizer.zero_grad()
            h = rectified_sigmoid(v)
            change = grouped(low + h * (high - low) - target, moments)
            loss = (change @ moments * change).sum() / unit
            if step >= warm:
                # nagel2020 Sec. 3.3: beta falls from 20 to 2
                beta = 2 + 18 * (1 - (step - warm) / (steps - warm))
                loss = loss + penalty * indecision(h, beta) / h.numel()
            loss.backward()
            optimizer.step()
    index = torch.where(v.detach() >= 0, torch.minimum(below + 1, grid.high), below)
    chosen = with_values(codes, grid.fields[index])
    if not keep_better:
        return chosen
    return better_rows(weight, codes, chosen, (before, output_error(target, chosen.decode(), moments)))
