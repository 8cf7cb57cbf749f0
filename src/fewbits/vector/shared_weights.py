"""Weights that share values: a codebook of single weights, and a codebook of short vectors of weights.

Every other quantizer of the book has a grid that a formula gives. Here the levels are *found*, by clustering the
weights (:mod:`fewbits.vector.clustering`), and then *learned*: the assignment is frozen, the codebook is a parameter,
and the gradient of a centroid is the sum over the gradients of its members (han2015 Eq. 3), because that is the
gradient of an indexed read. What is stored is the codebook, and for each weight its index in ``ceil(log2 k)``
bits.

Both quantizers belong to the tensor that they were made for: they keep its indices, and of a later input
only the shape is used. So the latent weight gets no gradient, and quantizing twice changes nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fewbits.core.checks import check_finite
from fewbits.core.codes import Codes
from fewbits.core.extras import extra
from fewbits.core.packing import index_bits
from fewbits.core.quantizer import Quantizer, parametrization_of, put_quantizer, weight_layers
from fewbits.core.vector_codes import VectorCodes, look_up
from fewbits.vector.clustering import assign, kmeans


class SharedWeights(Quantizer):
    """The weights of one tensor share a codebook of at most ``k`` values.

    Exact zeros are pruned weights: they stay zero and are not clustered. If there are any, the codebook has 0 as its
    first entry, which is not trained, and ``k - 1`` centroids.

    Args:
        x: any shape, floating point, finite: the tensor whose elements are clustered.
        k: entries of the codebook, 0 included, 2 or more; fewer if ``x`` has fewer different values.
        init: of :func:`fewbits.vector.clustering.kmeans`; linear is the paper's choice.
        seed: of the random init.
    Raises:
        TypeError, ValueError: as :func:`fewbits.core.checks.check_finite`; ``k`` < 2; unknown ``init``.
    Source: han2015 Eq. 2; han2015 Eq. 3 (made by autograd); book eq-vector-gradient
    """

    def __init__(self, x: Tensor, k: int, init: str = "linear", seed: int = 0):
        super().__init__()
        check_finite(x)
        if k < 2:
            raise ValueError(f"k must be at least 2, got {k}")
        device, x = x.device, x.detach().cpu()  # clustering runs in NumPy and numba
        alive = x != 0
        zeros = int(not alive.all())
        codes = torch.zeros(x.shape, dtype=torch.int32)
        centroids = x.new_empty(0)
        if alive.any():
            found = kmeans(x[alive], k - zeros, init, seed)  # han2015 Eq. 2
            codes[alive] = (assign(x[alive], found) + zeros).int()
            centroids = found.to(x.dtype)
        self.centroids = nn.Parameter(centroids)
        self.codes: Tensor
        self.register_buffer("codes", codes)
        # Entries of the codebook that stand for pruned weights, 0 or 1. The codes cannot be read without it, so it
        # belongs to the state_dict with them.
        self.zeros: Tensor
        self.register_buffer("zeros", torch.tensor(zeros))
        self.to(device)

    def codebook(self) -> Tensor:
        """(at most k,): 0 first if there are pruned weights, then the centroids."""
        return torch.cat([self.centroids.new_zeros(int(self.zeros)), self.centroids])

    def forward(self, x: Tensor) -> Tensor:
        """The shared values, in the shape of ``x``, which must be that of the tensor that was clustered."""
        _check_shape(x, self.codes.shape)
        return self.codebook()[self.codes]  # backward: han2015 Eq. 3

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        _check_shape(x, self.codes.shape)
        levels = self.codebook()
        return Codes(self.codes, index_bits(len(levels)), levels.new_ones(()), levels=levels.clone(), signed=False)

    def extra_repr(self) -> str:
        return f"{int(self.zeros) + len(self.centroids)} values for {self.codes.numel()} weights"


class ProductQuantizer(Quantizer):
    """Several weights share one index: a codebook of sub-vectors of ``d`` weights (product quantization).

    The tensor is read as a matrix with one row per output (a convolution's filter is a row), and each row is cut into
    sub-vectors of ``d`` neighbours; the last one is filled up with zeros. An index of ``ceil(log2 k)`` bits then stands
    for d weights. Clustering is k-means in d dimensions, from k-means++ starts; the true optimum is not known here.

    Args:
        x: (outputs, ...) with at least two axes, floating point, finite.
        d: weights per sub-vector, 1 or more.
        k: entries of a codebook, 2 or more; fewer if there are fewer different sub-vectors.
        shared: one codebook for all sub-vectors of the tensor, or else one for each position in the row, as product
            quantization has it: closer, but its codebooks are as many times larger as a row has sub-vectors.
        seed: of the start.
    Raises:
        TypeError, ValueError: as :func:`fewbits.core.checks.check_finite`; ``d`` < 1, ``k`` < 2, fewer than two axes.
    Source: own (classic product quantization)
    """

    def __init__(self, x: Tensor, d: int, k: int, shared: bool = True, seed: int = 0):
        super().__init__()
        check_finite(x)
        if x.dim() < 2:
            raise ValueError(f"x must have at least two axes, got shape {tuple(x.shape)}")
        if d < 1 or k < 2:
            raise ValueError(f"d must be at least 1 and k at least 2, got {d} and {k}")
        rows = x.detach().cpu().flatten(1)
        vectors = nn.functional.pad(rows, (0, -rows.shape[1] % d)).unflatten(1, (-1, d))  # (rows, groups, d)
        groups = [vectors.flatten(0, 1)] if shared else list(vectors.unbind(1))
        k = min(k, *(len(group.unique(dim=0)) for group in groups))
        found = [_cluster_vectors(group, k, seed) for group in groups]
        self.codebooks = nn.Parameter(torch.stack([codebook for codebook, _ in found]))
        codes = found[0][1].view(len(rows), -1) if shared else torch.stack([index for _, index in found], dim=1)
        self.codes: Tensor
        self.register_buffer("codes", codes.int())
        self.shape = x.shape
        self.to(x.device)

    def forward(self, x: Tensor) -> Tensor:
        """The shared values, in the shape of ``x``, which must be that of the tensor that was clustered."""
        _check_shape(x, self.shape)
        return look_up(self.codebooks, self.codes, self.shape)

    @torch.no_grad()
    def encode(self, x: Tensor) -> VectorCodes:
        _check_shape(x, self.shape)
        bits = index_bits(self.codebooks.shape[1])
        return VectorCodes(self.codes, bits, self.codebooks.detach().clone(), self.shape)

    def extra_repr(self) -> str:
        books, k, d = self.codebooks.shape
        return f"{books} codebooks of {k} vectors of {d}"


def share_weights(model: nn.Module, make: Callable[[str, Tensor], Quantizer]) -> nn.Module:
    """Replace the weight of each linear and convolution layer by what ``make(name, weight)`` returns, in place.

    Layers that hold the same weight share what is made for the first of them.

    Args:
        make: of the layer's name and its weight (detached); gives a quantizer made for this weight.
    Returns:
        ``model``: ``layer.weight`` is the shared weight.
    Raises:
        ValueError: ``model`` has no such layer, or one is parametrized already.
    Source: own (quantizers for a network)
    """
    layers = weight_layers(model)
    if not layers:
        raise ValueError("model has no linear or convolution layer")
    taken = [name for name, layer in layers.items() if parametrize.is_parametrized(layer, "weight")]
    if taken:
        raise ValueError(f"the weights of {taken} are parametrized already")
    made: dict[int, Quantizer] = {}
    for name, layer in layers.items():
        weight = layer.weight
        if id(weight) not in made:
            made[id(weight)] = make(name, weight.detach())
        put_quantizer(layer, made[id(weight)])
        # It has no gradient; without this an optimizer's weight decay would still be given it.
        parametrization_of(layer).original.requires_grad_(False)
    return model


def _check_shape(x: Tensor, shape: torch.Size) -> None:
    if x.shape != shape:
        raise ValueError(f"x has shape {tuple(x.shape)}; this quantizer was made for {tuple(shape)}")


def _cluster_vectors(vectors: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Codebook (k, d) in the dtype of ``vectors``, and the index (n,) of each of the (n, d) ``vectors``."""
    with extra("data"):
        from sklearn.cluster import KMeans  # a slow import that the rest of the chapter does not need

    result = KMeans(k, n_init=1, random_state=seed).fit(vectors.double().numpy())
    return torch.from_numpy(result.cluster_centers_).to(vectors.dtype), torch.from_numpy(result.labels_).long()
