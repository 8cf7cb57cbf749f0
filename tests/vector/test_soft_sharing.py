"""Soft weight-sharing: against torch.distributions, autograd in float64 and scipy, and where it must be stable."""

import copy
import math

import numpy as np
import pytest
import strategies  # noqa: F401  (loads the profile of hypothesis)
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from fewbits.vector import MixturePrior, SoftSharing
from fewbits.vector.soft_sharing import OTHER_PRIOR, ZERO_PRIOR, _divergence


def some_prior(seed=0, components=6, pi_zero=0.9):
    generator = torch.Generator().manual_seed(seed)
    prior = MixturePrior(torch.randn(components - 1, generator=generator, dtype=torch.float64), 0.3, pi_zero)
    with torch.no_grad():
        prior.log_precision += torch.randn(components, generator=generator, dtype=torch.float64)
        prior.logits += torch.randn(components - 1, generator=generator, dtype=torch.float64)
    return prior


def as_distribution(prior):
    """The same mixture in torch's own words, differentiable in its parameters."""
    mixing = torch.cat(
        [torch.tensor([prior.pi_zero], dtype=torch.float64), (1 - prior.pi_zero) * prior.logits.softmax(0)]
    )
    means = torch.cat([torch.zeros(1).double(), prior.means])
    return MixtureSameFamily(Categorical(mixing), Normal(means, (-prior.log_precision / 2).exp()))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 50, 20_000])
def test_value_and_all_gradients_are_those_of_torch(seed, count):
    prior, reference = some_prior(seed), some_prior(seed)
    weights = torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours, theirs = (weights.clone().requires_grad_() for _ in range(2))
    value = 3 * prior.log_density(ours)
    expected = 3 * as_distribution(reference).log_prob(theirs).sum()
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-10)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    for parameter, other in zip(prior.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-9, atol=1e-7)


def test_far_weights_and_narrow_components_stay_finite():
    """A plain sum of densities is 0 here, and its logarithm -inf."""
    prior = MixturePrior(torch.tensor([-0.5, 0.5]), 1e-4)
    weights = torch.tensor([30.0, -1e6, 0.0], requires_grad=True)
    value = prior.log_density(weights)
    value.backward()
    assert math.isfinite(value.item())
    assert all(torch.isfinite(p.grad).all() for p in (weights, prior.means, prior.logits, prior.log_precision))
    plain = stats.norm.pdf(30.0, 0.5, 1e-4)
    assert plain == 0


def test_the_density_integrates_to_one():
    prior = some_prior(1)

    def density(w):
        return math.exp(prior.log_density(torch.tensor([w], dtype=torch.float64)).item())

    total, _ = integrate.quad(density, -20, 20, points=[0.0, *sorted(prior.means.tolist())], limit=400)
    assert total == pytest.approx(1, abs=1e-6)
    assert prior.components()[0].sum().item() == pytest.approx(1)
    assert prior.components()[0][0].item() == pytest.approx(0.9)


def test_the_hyperprior_is_a_gamma_density_up_to_a_constant():
    prior = some_prior(2, components=3)

    def scipy_log(prior):
        precision = prior.log_precision.exp().tolist()
        parts = [ZERO_PRIOR, OTHER_PRIOR, OTHER_PRIOR]
        return sum(stats.gamma.logpdf(p, a, scale=1 / b) for p, (a, b) in zip(precision, parts, strict=True))

    before = prior.log_hyperprior().item(), scipy_log(prior)
    with torch.no_grad():
        prior.log_precision += torch.tensor([0.5, -0.3, 1.0])
    after = prior.log_hyperprior().item(), scipy_log(prior)
    assert after[0] - before[0] == pytest.approx(after[1] - before[1], rel=1e-9)


def test_most_responsible_is_the_largest_of_all_shares():
    prior = some_prior(3, pi_zero=0.2)
    weights = torch.linspace(-3, 3, 500, dtype=torch.float64).reshape(20, 25)
    mixing, means, stds = (values.numpy() for values in prior.components())
    shares = np.log(mixing) + stats.norm.logpdf(weights.numpy()[..., None], means, stds)
    assert prior.most_responsible(weights).tolist() == shares.argmax(-1).tolist()
    assert len(prior.most_responsible(weights).unique()) > 2


# --- merging ----------------------------------------------------------------------------------------------------------


@given(st.floats(-2, 2), st.floats(0.05, 2), st.floats(-2, 2), st.floats(0.05, 2))
def test_divergence_is_the_mean_of_both_of_torchs(m, s, n, t):
    first, second = (Normal(torch.tensor(a).double(), torch.tensor(b).double()) for a, b in ((m, s), (n, t)))
    both = torch.distributions.kl_divergence(first, second) + torch.distributions.kl_divergence(second, first)
    assert _divergence([0.5, m, s**-2], [0.5, n, t**-2]) == pytest.approx(both.item() / 2, rel=1e-6, abs=1e-9)


def test_merging_by_hand():
    prior = MixturePrior(torch.tensor([0.5, 0.502, -0.4, 0.0001]), 0.02, 0.9)
    merged = prior.merged(0.1)
    mixing, means, stds = merged.components()
    torch.testing.assert_close(means, torch.tensor([0.0, 0.501, -0.4]))
    torch.testing.assert_close(mixing, torch.tensor([0.925, 0.05, 0.025]))
    torch.testing.assert_close(stds, torch.full((3,), 0.02))
    assert len(prior.merged(1e-9).all_means()) == 5
    assert len(prior.merged(1e9).all_means()) == 2  # 0 and one more are always left
    assert prior.means.tolist() == pytest.approx([0.5, 0.502, -0.4, 0.0001])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.floats(1e-3, 10))
def test_what_is_left_is_apart_and_adds_up(means, threshold):
    merged = MixturePrior(torch.tensor(means).double(), 0.1).merged(threshold)
    mixing, centres, stds = (values.tolist() for values in merged.components())
    assert sum(mixing) == pytest.approx(1)
    assert centres[0] == 0
    parts = list(zip(mixing, centres, (s**-2 for s in stds), strict=True))
    if len(parts) > 2:
        pairs = [_divergence(parts[i], parts[j]) for j in range(len(parts)) for i in range(j)]
        assert min(pairs) >= threshold * (1 - 1e-6)


# --- the schedule -----------------------------------------------------------------------------------------------------


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))


def test_the_loss_is_cross_entropy_and_tau_over_n_times_the_prior():
    model = network().double()
    sharing = SoftSharing(model, tau=0.01, samples=50, components=5)
    images, labels = torch.randn(8, 6).double(), torch.randint(3, (8,))
    log_prior = as_distribution(sharing.prior).log_prob(sharing.weights()).sum() + sharing.prior.log_hyperprior()
    expected = F.cross_entropy(model(images), labels) - 0.01 / 50 * log_prior
    torch.testing.assert_close(sharing.loss(model(images), labels), expected)


def test_the_prior_starts_on_the_range_of_the_weights():
    sharing = SoftSharing(network(), 0.01, 50, components=6, pi_zero=0.95)
    mixing, means, stds = sharing.prior.components()
    assert means[1].item() == pytest.approx(sharing.weights().min().item())
    assert means[-1].item() == pytest.approx(sharing.weights().max().item())
    torch.testing.assert_close(stds, torch.full((6,), (means[2] - means[1]).item()))
    torch.testing.assert_close(mixing, torch.tensor([0.95] + [0.01] * 5))


def test_training_under_the_prior_pulls_weights_together_and_finish_leaves_few_values():
    model = network()
    sharing = SoftSharing(model, tau=5.0, samples=50, components=6)
    before, biases = sharing.prior.log_density(sharing.weights()).item(), copy.deepcopy(model[0].bias)
    optimizer = torch.optim.Adam([*model.parameters(), *sharing.prior.parameters()], 0.01)
    images, labels = torch.randn(50, 6), torch.randint(3, (50,))
    for _ in range(100):
        loss = sharing.loss(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sharing.prior.log_density(sharing.weights()).item() > before
    biases = copy.deepcopy(model[0].bias)
    prior = sharing.quantize(0.1)
    values = sharing.weights().unique()
    assert len(values) <= len(prior.all_means()) <= 6
    assert torch.isin(values, prior.all_means()).all()
    assert (sharing.weights() == 0).any()
    assert torch.equal(model[0].bias, biases)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixturePrior(torch.zeros(0), 0.1), r"means must have shape \(J - 1,\)"),
        (lambda: MixturePrior(torch.zeros(2, 2), 0.1), r"means must have shape"),
        (lambda: MixturePrior(torch.zeros(2), 0.0), "std must be positive"),
        (lambda: MixturePrior(torch.zeros(2), 0.1, 1.0), r"pi_zero in \(0, 1\)"),
        (lambda: MixturePrior.around(torch.ones(3)), "weights differ"),
        (lambda: MixturePrior.around(torch.tensor([0.0, 1.0]), 2), "components must be at least 3"),
        (lambda: MixturePrior.around(torch.tensor([0.0, math.nan])), "weights holds NaN or Inf"),
        (lambda: SoftSharing(network(), 0, 50), "tau and samples must be positive"),
        (lambda: SoftSharing(network(), 0.1, 0), "tau and samples must be positive"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
