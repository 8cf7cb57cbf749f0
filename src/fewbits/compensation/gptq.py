"""GPTQ (frantar2022): round one weight after the other, and let those to come make up for the error.

INQ rounds a part of the weights and trains the rest, which learns to make up for it. For one layer and a squared error
the best that the rest can do is known in closed form. That needs the second moments of what the layer reads, and no
training: with the inverse H⁻¹ of the moments of the weights that are left, rounding weight q to ŵ moves the others by

    -(w_q - ŵ_q) / [H⁻¹]_qq · [H⁻¹]_q: .

All rows take their weights in the same order, so one Cholesky factor of H⁻¹ holds all the inverses that are needed.
"""

import dataclasses

import torch
from torch import Tensor

from fewbits.compensation.block_formats import block_maxima, block_scales
from fewbits.compensation.grids import Grid, better_rows, grid_of, with_values
from fewbits.compensation.moments import grouped, output_error
from fewbits.core.checks import check_finite
from fewbits.core.codes import StoredForm
from fewbits.core.float_codes import FloatCodes

ORDERS = ("given", "activation")


def inverse_factor(moments: Tensor, damping: float = 0.01) -> Tensor:
    """The upper triangular U with ``UᵀU = (H + λ)⁻¹``, λ being ``damping`` times the mean of the diagonal of H.

    Row i of U, divided by its diagonal, is what the rounding of weight i does to the weights after it.

    Args:
        moments: (groups, K, K) float64. A group whose moments are all 0 gets the unit matrix.
        damping: >= 0; 0 needs moments of full rank.
    Raises:
        ValueError: ``damping`` is negative, or H + λ is not positive definite.
    Source: frantar2022 Alg. 1; frantar2022 Sec. 4 (damping); own (moments that are 0); book eq-compensation-factor
    """
    if not damping >= 0:
        raise ValueError(f"damping must not be negative, got {damping}")
    unit = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    mean = moments.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    damped = torch.where(mean != 0, moments + damping * mean * unit, unit)
    factor, fault = torch.linalg.cholesky_ex(damped)
    if fault.any():
        raise ValueError("moments are not positive definite: use more images, or a larger damping")
    # frantar2022 Alg. 1
    return torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)  # book eq-compensation-factor


@torch.no_grad()
def gptq(
    weight: Tensor,
    codes: StoredForm,
    moments: Tensor,
    *,
    damping: float = 0.01,
    order: str = "given",
    rescale: bool = False,
    keep_better: bool = True,
) -> StoredForm:
    """Codes of ``weight`` on the grid of ``codes``, chosen with compensation.

    The grid of each weight is that of ``codes``: scales, tables and zero points are kept, whatever quantizer they come
    from, and each weight takes the nearest point to what it has become. So a method with a rule of its own, such as the
    threshold of TWN, gives its levels only.

    Nothing guarantees that the error is smaller than that of rounding each weight by itself: the weights that come last
    have nobody to make up for them, and a weight that was pushed beyond the end of the grid is clipped. Such outputs
    keep ``codes``, unless ``keep_better`` is False.

    Args:
        weight: (M, …) floating point, finite.
        codes: of ``weight``, from any quantizer with a code for each weight.
        moments: (groups, K, K), as :func:`fewbits.compensation.second_moments` gives them.
        damping: a fraction of the mean of the moments' diagonal, which is added to the diagonal.
        order: "given", or "activation": the weights whose inputs are largest first.
        rescale: give each block of a block format the scale of what its weights have become when its turn comes
            (the groups of the paper). Needs the order "given".
        keep_better: keep ``codes`` where they have the smaller error.
    Returns:
        Codes of the same form and size.
    Raises:
        TypeError, ValueError: ``weight`` or ``moments`` hold NaN or Inf, a shape does not fit, ``order`` is unknown,
            ``rescale`` asks for blocks that are not there, or ``damping`` does not suffice.
    Source: frantar2022 Alg. 1; frantar2022 Eq. 2; book eq-compensation-update; own (any grid, the better)
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}; got {order!r}")
    if check_finite(weight, "weight").shape != codes.shape:
        raise ValueError(f"codes have shape {tuple(codes.shape)}, weight {tuple(weight.shape)}")
    block = codes.block if isinstance(codes, FloatCodes) else 0
    if rescale and (not block or order != "given"):
        raise ValueError("rescale needs codes with blocks, and the order 'given'")
    moments = moments.double()
    rest = grouped(weight.double(), moments).clone()
    groups, rows, length = rest.shape
    place = torch.arange(length).expand(groups, length)
    if order == "activation":
        place = moments.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
        moments = moments.gather(1, place[:, :, None].expand_as(moments))
        moments = moments.gather(2, place[:, None, :].expand_as(moments))
    factor = inverse_factor(moments, damping)
    columns = place[:, None, :].expand(groups, rows, length)
    rest = rest.gather(2, columns)
    grid = _in_order(codes, columns)
    fields = torch.empty_like(columns)
    found = codes
    for i in range(length):
        if rescale and i % block == 0:
            found = _rescaled(found, rest, i)
            grid = _in_order(found, columns)
        here = grid.at((slice(None), slice(None), i))
        index = here.nearest(rest[:, :, i])
        fields[:, :, i] = grid.fields[index]
        error = (rest[:, :, i] - here.real(index)) / factor[:, None, i, i]
        # frantar2022 Eq. 2
        rest[:, :, i:] -= error[:, :, None] * factor[:, None, i, i:]  # book eq-compensation-update
    chosen = with_values(found, torch.empty_like(fields).scatter_(2, columns, fields))
    if not keep_better:
        return chosen
    original = moments if order == "given" else None
    if original is None:
        back = place.argsort(1)
        original = moments.gather(1, back[:, :, None].expand_as(moments)).gather(2, back[:, None, :].expand_as(moments))
    errors = tuple(output_error(weight, form.decode(), original) for form in (codes, chosen))
    return better_rows(weight, codes, chosen, (errors[0], errors[1]))


def _in_order(codes: StoredForm, columns: Tensor) -> Grid:
    """The grid of the weights as (groups, rows, K), in the order in which they are rounded."""
    grid = grid_of(codes).view(*columns.shape)
    sides = {name: getattr(grid, name).gather(2, columns) for name in ("scale", "zero", "low", "high")}
    return dataclasses.replace(grid, **sides)


def _rescaled(codes: StoredForm, rest: Tensor, start: int) -> FloatCodes:
    """``codes`` with the scale of the block that starts at column ``start`` set by what its weights have become."""
    assert isinstance(codes, FloatCodes)  # the caller has looked
    assert codes.block_scales is not None
    rows = rest.flatten(0, 1)[:, start : start + codes.block].to(codes.real_scale)
    scales = codes.block_scales.clone()
    scales[:, start // codes.block] = block_scales(codes, block_maxima(rows, codes.block)[:, 0])
    return dataclasses.replace(codes, block_scales=scales)
