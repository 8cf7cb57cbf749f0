"""Soft weight-sharing (ullrich2017): a mixture of Gaussians as prior, learned together with the weights.

The loss is ``cross-entropy - tau / N * log p(weights)``, where N is the number of training images and

    log p(weights) = sum_i log sum_j pi_j N(w_i | mu_j, 1 / lambda_j) + sum_j log Gamma(lambda_j | a_j, b_j).

Component 0 stays at mean 0 with pi_0 fixed close to 1: it collects the weights that are not needed. The others find the
values that the rest can share. In the end components that have become alike are merged, and every weight becomes the
mean of the component that is most responsible for it: pruning and sharing in one go.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.utils import parametrize

from fewbits.core.checks import check_finite
from fewbits.core.codes import Codes
from fewbits.core.packing import index_bits
from fewbits.core.quantizer import weight_layers

# (a, b) of the Gamma priors of the precisions, for component 0 and for all others: both have their mean at 2500, a
# standard deviation of 0.02. As in the public code of the paper's authors.
ZERO_PRIOR, OTHER_PRIOR = (5e3, 2.0), (2.5e2, 0.1)
_CHUNK = 16_384  # weights at a time: their responsibilities fit into the cache


class _LogDensity(Function):
    """Sum of log densities. Value and gradient are computed together, because both need the responsibilities."""

    @staticmethod
    def forward(ctx, weights, means, log_precision, log_mixing):
        precision = log_precision.exp()[:, None]
        constant = (log_mixing + (log_precision - math.log(2 * math.pi)) / 2)[:, None]
        total = 0.0
        slopes = torch.empty_like(weights)
        first, second, zeroth = (torch.zeros_like(means) for _ in range(3))
        for chunk, slope in zip(weights.split(_CHUNK), slopes.split(_CHUNK), strict=True):
            distance = chunk - means[:, None]  # (J, chunk)
            # log-sum-exp: minus the largest exponent, one summand is 1, so nothing overflows and the log is finite.
            share = distance.square().mul_(-precision / 2).add_(constant)
            largest = share.amax(0)
            share.sub_(largest).exp_()
            summed = share.sum(0)
            total += float((largest + summed.log()).sum(dtype=torch.float64))  # ullrich2017 Eq. 5
            share.div_(summed)  # responsibilities
            zeroth += share.sum(1)
            share.mul_(distance)
            first += share.sum(1)
            torch.matmul(-precision.T, share, out=slope.unsqueeze(0))
            second += share.mul_(distance).sum(1)
        precision = precision.squeeze(1)
        ctx.save_for_backward(slopes, precision * first, (zeroth - precision * second) / 2, zeroth)
        return weights.new_tensor(total)

    @staticmethod
    def backward(ctx, grad):
        return tuple(grad * slope for slope in ctx.saved_tensors)


class MixturePrior(nn.Module):
    """A mixture of Gaussians with a fixed component at 0.

    Attributes:
        means: (J - 1,) of the other components; learned.
        log_precision: (J,) log(1 / σ²), component 0 first; learned.
        logits: (J - 1,) whose softmax, times ``1 - pi_zero``, is the mixing of the others; learned.

    Args:
        means: (J - 1,), J >= 2: where the others start.
        std: standard deviation at which all start, > 0.
        pi_zero: mixing of component 0, in (0, 1).
    Raises:
        ValueError: an argument is out of range.
    Source: ullrich2017 Eq. 5; ullrich2017 Sec. 4.1 (component 0, Gamma priors); book eq-vector-soft
    """

    def __init__(self, means: Tensor, std: float, pi_zero: float = 0.99):
        super().__init__()
        if means.dim() != 1 or not len(means):
            raise ValueError(f"means must have shape (J - 1,) with J >= 2, got {tuple(means.shape)}")
        if not std > 0 or not 0 < pi_zero < 1:
            raise ValueError(f"std must be positive and pi_zero in (0, 1), got {std} and {pi_zero}")
        self.pi_zero = pi_zero
        self.means = nn.Parameter(means.detach().clone())
        self.log_precision = nn.Parameter(means.new_full((len(means) + 1,), -2 * math.log(std)))
        self.logits = nn.Parameter(torch.zeros_like(means))

    @classmethod
    def around(cls, weights: Tensor, components: int = 16, pi_zero: float = 0.99) -> "MixturePrior":
        """Means evenly spaced over the range of ``weights`` (any shape, finite), as wide as their distance.

        Args:
            components: J, that at 0 included; 3 or more.
        Source: ullrich2017 Sec. 4.2
        """
        low, high = (float(end) for end in torch.aminmax(check_finite(weights, "weights").detach()))
        if components < 3 or low == high:
            raise ValueError(f"components must be at least 3 and weights differ, got {components} and {low} … {high}")
        means = torch.linspace(low, high, components - 1, dtype=weights.dtype)
        return cls(means, (high - low) / (components - 2), pi_zero)

    def all_means(self) -> Tensor:
        """(J,), 0 first."""
        return torch.cat([self.means.new_zeros(1), self.means])

    def log_mixing(self) -> Tensor:
        """(J,) logarithms that add up to 1 once exponentiated, component 0 first."""
        others = math.log1p(-self.pi_zero) + self.logits.log_softmax(0)
        return torch.cat([others.new_tensor([math.log(self.pi_zero)]), others])

    def log_density(self, weights: Tensor) -> Tensor:
        """Sum over the (n,) ``weights`` of their log densities, a scalar; stable however far away a weight is.

        Source: ullrich2017 Eq. 5; own (log-sum-exp); book eq-vector-logsumexp
        """
        return _LogDensity.apply(weights, self.all_means(), self.log_precision, self.log_mixing())

    def log_hyperprior(self) -> Tensor:
        """Log of the Gamma densities of the precisions, without their constants; a scalar.

        Source: ullrich2017 Sec. 4.1
        """
        a, b = self.log_precision.new_tensor([ZERO_PRIOR] + [OTHER_PRIOR] * len(self.means)).T
        return ((a - 1) * self.log_precision - b * self.log_precision.exp()).sum()

    @torch.no_grad()
    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mixing, means and standard deviations, (J,) each, component 0 first."""
        return self.log_mixing().exp(), self.all_means(), (-self.log_precision / 2).exp()

    @torch.no_grad()
    def most_responsible(self, weights: Tensor) -> Tensor:
        """Index of the component with the largest ``pi_j N(w | mu_j, σ_j²)`` for each weight: int64, same shape.

        Source: ullrich2017 Alg. 1 (last step)
        """
        means, constant = self.all_means(), self.log_mixing() + self.log_precision / 2
        best = weights.new_full(weights.shape, -math.inf)
        index = torch.zeros(weights.shape, dtype=torch.int64)
        for j, precision in enumerate(self.log_precision.exp()):
            log_share = constant[j] - (weights - means[j]).square() * precision / 2  # ullrich2017 Alg. 1
            index = torch.where(log_share > best, j, index)
            best = torch.maximum(best, log_share)
        return index

    @torch.no_grad()
    def merged(self, threshold: float) -> "MixturePrior":
        """A prior in which no two components diverge by less than ``threshold``.

        The two that are closest, in Kullback-Leibler divergence averaged over both directions, become one: its mixing
        is their sum, its mean and precision their means weighted by mixing (so far as in the authors' public code; the
        paper mixes variances in place of precisions). One that merges with component 0 gets mean 0. Then the next two,
        as long as two are close and one is left beside 0.

        Source: ullrich2017 Eq. 8 (variances there, precisions here); ullrich2017 Sec. 4.3
        """
        mixing, means, stds = (values.double().tolist() for values in self.components())
        parts = [list(part) for part in zip(mixing, means, (std**-2 for std in stds), strict=True)]
        while len(parts) > 2:
            divergence, i, j = min((_divergence(parts[i], parts[j]), i, j) for j in range(len(parts)) for i in range(j))
            if divergence >= threshold:
                break
            first, second = parts[i], parts.pop(j)
            weight = first[0] + second[0]
            # ullrich2017 Eq. 8
            mean, precision = ((first[0] * first[n] + second[0] * second[n]) / weight for n in (1, 2))
            parts[i] = [weight, 0.0 if i == 0 else mean, precision]
        mixing, means, precision = torch.tensor(parts, dtype=self.means.dtype).T
        prior = MixturePrior(means[1:], 1.0, float(mixing[0].clamp(max=1 - 1e-9)))
        prior.log_precision.copy_(precision.log())
        prior.logits.copy_(mixing[1:].log())
        return prior


def _divergence(first: list[float], second: list[float]) -> float:
    """Mean of the two Kullback-Leibler divergences of (mixing, mean, precision) Gaussians, in nats."""
    (_, m, p), (_, n, q) = first, second
    return ((p + q) * (m - n) ** 2 + p / q + q / p - 2) / 4


class SoftSharing:
    """Soft weight-sharing over the weights of the linear and convolution layers of ``model``; biases are left alone.

    Train model and prior together with :meth:`loss`, then call :meth:`quantize`.

    Args:
        model: trained.
        tau: strength of the prior, > 0.
        samples: N, the number of training images.
        components, pi_zero: of :meth:`MixturePrior.around`.
    Source: ullrich2017 Alg. 1
    """

    def __init__(self, model: nn.Module, tau: float, samples: int, components: int = 16, pi_zero: float = 0.99):
        if not tau > 0 or samples < 1:
            raise ValueError(f"tau and samples must be positive, got {tau} and {samples}")
        self.model, self.tau, self.samples = model, tau, samples
        self.levels: Tensor | None = None  # of the quantized weights
        self.prior = MixturePrior.around(self.weights(), components, pi_zero)

    def weights(self) -> Tensor:
        """(n,) all weights, layer after layer."""
        return torch.cat([weight.flatten() for weight in self._weights().values()])

    def _weights(self) -> dict[str, Tensor]:
        """By parameter name; one that several layers hold once."""
        found: dict[int, tuple[str, Tensor]] = {}
        for name, layer in weight_layers(self.model).items():
            if parametrize.is_parametrized(layer, "weight"):
                raise ValueError(f"the weight of {name!r} is parametrized already")
            found.setdefault(id(layer.weight), (f"{name}.weight" if name else "weight", layer.weight))
        return dict(found.values())

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy minus ``tau / N`` times the log of the prior: for :func:`fewbits.training.fit`.

        Source: ullrich2017 Eq. 6; ullrich2017 Eq. 7; book eq-vector-soft
        """
        log_prior = self.prior.log_density(self.weights()) + self.prior.log_hyperprior()
        # ullrich2017 Eq. 6; ullrich2017 Eq. 7
        return F.cross_entropy(logits, labels) - self.tau / self.samples * log_prior

    @torch.no_grad()
    def quantize(self, threshold: float = 0.1) -> MixturePrior:
        """Merge, then set every weight to the mean of its most responsible component; returns the merged prior.

        Args:
            threshold: of :meth:`MixturePrior.merged`, in nats.
        Source: ullrich2017 Sec. 4.3; ullrich2017 Alg. 1
        """
        prior = self.prior.merged(threshold)
        self.levels = means = prior.all_means()
        for weight in self._weights().values():
            weight.copy_(means[prior.most_responsible(weight)])
        return prior

    @torch.no_grad()
    def encode(self) -> dict[str, Codes]:
        """The stored form of every weight after :meth:`quantize`, by parameter name: indices into the merged means.

        Each layer has the whole table, so 32 bits for each mean are counted in each layer.
        :func:`fewbits.core.quantizer.attach_codes` puts the codes into the model.

        Raises:
            ValueError: :meth:`quantize` has not been called, or a weight has changed since.
        """
        if self.levels is None:
            raise ValueError("the weights are not quantized: call quantize first")
        found, bits = {}, index_bits(len(self.levels))
        for name, weight in self._weights().items():
            levels = self.levels.to(weight)
            values = (weight.unsqueeze(-1) == levels).to(torch.uint8).argmax(-1)
            if not torch.equal(levels[values], weight):
                raise ValueError(f"{name}: the weights have changed since quantize")
            found[name] = Codes(values.int(), bits, levels.new_ones(()), levels=levels.clone(), signed=False)
        return found
