"""Correlations with bootstrap intervals (see ``mixed_precision --part latency``)."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000


def correlations(x: Sequence[float], y: Sequence[float], groups: Sequence, seed: int = 0) -> dict[str, float]:
    """Pearson's and Spearman's correlation of n points, each with a 95 % percentile bootstrap interval.

    Whole groups are drawn with replacement: points of one layer at two widths are not two independent layers.
    Resamples in which a variable does not vary have no correlation and are left out.

    Args:
        x, y: n numbers each.
        groups: n labels, each as often as every other; give each point its own for the ordinary bootstrap.
    Returns:
        ``n``, ``pearson``, ``pearson_low``, ``pearson_high``, ``spearman``, ``spearman_low``, ``spearman_high``;
        correlations are NaN where x or y does not vary, and interval bounds where there are fewer than 4 groups.
    Raises:
        ValueError: the groups differ in size.
    """
    points = np.array([x, y], dtype=float)
    labels, members, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    if len(set(sizes)) > 1:
        raise ValueError(f"groups must be of equal size, got sizes {sizes.min()} to {sizes.max()}")
    drawn = np.empty((0, points.shape[1]), dtype=int)
    if len(labels) >= 4:
        places = np.argsort(members, kind="stable").reshape(len(labels), -1)  # (groups, points of a group)
        picked = np.random.default_rng(seed).integers(len(labels), size=(RESAMPLES, len(labels)))
        drawn = places[picked].reshape(RESAMPLES, -1)
    result = {"n": points.shape[1]}
    for kind, prepare in (("pearson", np.asarray), ("spearman", lambda values: stats.rankdata(values, axis=-1))):
        result[kind] = round(float(_pearson(*prepare(points))), 4)
        found = _pearson(*prepare(points[:, drawn]))
        found = found[~np.isnan(found)]
        low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)
        result |= {f"{kind}_low": round(float(low), 4), f"{kind}_high": round(float(high), 4)}
    return result


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; NaN where x or y does not vary."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    norm = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return np.divide((x * y).sum(-1), norm, out=np.full_like(norm, np.nan), where=norm > 0)
