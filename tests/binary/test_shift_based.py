"""Shift-based batch normalization and AdaMax: every factor is decoded, the rest is compared with torch's own."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import BAD_FLOATS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fewbits.binary import ShiftAdaMax, ShiftBatchNorm, shift_based, use_shift_batch_norm
from fewbits.core.powers import ap2
from fewbits.nets import MLP, VGGSmall

SHAPES = {"(N, C)": (8, 4), "(N, C, L)": (4, 4, 2), "(N, C, H, W)": (2, 4, 2, 2)}


def is_power_of_two(factor) -> bool:
    """Whether every number decodes to mantissa 0.5, or is 0 (a shift by all bits)."""
    mantissa = torch.frexp(torch.as_tensor(factor, dtype=torch.float64)).mantissa.abs()
    return bool(((mantissa == 0.5) | (mantissa == 0)).all())


class OnlyShifts(TorchDispatchMode):
    """Looks at every operation that torch executes: products and quotients need a power of two for one operand.

    Additions, comparisons and memory operations pass, and what ``free`` names; anything else is an error. AP2 itself
    runs outside: it reads an exponent, and is tested elsewhere.
    """

    PLAIN = (
        "add",
        "sub",
        "abs",
        "maximum",
        "view",
        "_unsafe_view",
        "detach",
        "alias",
        "zeros_like",
        "lift_fresh",
        "_to_copy",
    )
    PLAIN += ("_local_scalar_dense", "empty", "clone", "copy_", "_reshape_alias", "expand")

    def __init__(self, monkeypatch, free=()):
        super().__init__()
        self.free, self.shifts, self.others, self.watching = free, 0, [], True
        monkeypatch.setattr(shift_based, "ap2", self.unwatched_ap2)

    def unwatched_ap2(self, x):
        self.watching = False
        try:
            return ap2(x)
        finally:
            self.watching = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.watching and func.namespace != "profiler":
            name = func.overloadpacket.__name__.removesuffix("_")
            if name == "mul":
                assert is_power_of_two(args[0]) or is_power_of_two(args[1]), (func, args)
                self.shifts += 1
            elif name == "div":
                assert is_power_of_two(args[1]), (func, args)
                self.shifts += 1
            elif name in self.free:
                self.others.append(name)
            else:
                assert name in [plain.removesuffix("_") for plain in self.PLAIN], f"{func} is neither plain nor a shift"
            if name in ("add", "sub"):
                assert (kwargs or {}).get("alpha", 1) == 1
        return func(*args, **(kwargs or {}))


# --- batch normalization -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_batch_norm_multiplies_by_powers_of_two_only(monkeypatch, shape):
    bn = ShiftBatchNorm(4)
    bn.weight.data = torch.tensor([1.3, -0.7, 0.01, 0.0])
    x = 3 * torch.randn(shape) + 1
    with OnlyShifts(monkeypatch, free=("mean", "rsqrt")) as watcher:
        bn(x)
    # C·AP2(C), two running statistics, C·AP2(1/σ), ·AP2(γ); two means, one inverse square root
    assert watcher.shifts == 5
    assert sorted(watcher.others) == ["mean", "mean", "rsqrt"]
    bn.eval()
    with OnlyShifts(monkeypatch, free=("rsqrt",)) as watcher:
        bn(x)
    assert watcher.shifts == 2


def test_the_watcher_catches_an_ordinary_batch_norm(monkeypatch):
    x, gamma = torch.randn(8, 4), torch.rand(4) + 1.1
    with OnlyShifts(monkeypatch), pytest.raises(AssertionError):
        _ = x * gamma
    with OnlyShifts(monkeypatch), pytest.raises(AssertionError):
        _ = torch.addcmul(x, x, gamma)


def by_hand(x, weight, bias, eps):
    """The paper's four lines in a loop over channels of plain floats."""
    columns = []
    for c, values in enumerate(x.T.tolist()):
        mean = sum(values) / len(values)
        centered = [value - mean for value in values]
        power = [ap2(torch.tensor(value, dtype=torch.float64)).item() for value in centered]
        variance = sum(a * b for a, b in zip(centered, power, strict=True)) / len(values)
        factor = ap2(torch.tensor((variance + eps) ** -0.5, dtype=torch.float64)).item()
        gamma = ap2(weight[c]).item()
        columns.append([value * factor * gamma + bias[c].item() for value in centered])
    return torch.tensor(columns, dtype=torch.float64).T


def test_batch_norm_line_by_line():
    bn = ShiftBatchNorm(4).double()
    bn.weight.data, bn.bias.data = torch.randn(2, 4, dtype=torch.float64).unbind()
    x = 5 * torch.randn(10, 4, dtype=torch.float64) - 2
    torch.testing.assert_close(bn(x), by_hand(x, bn.weight, bn.bias, 1e-5))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_where_ap2_is_exact_it_is_torchs_batch_norm(shape):
    """Centered values of ±2 and ±0.25, variances of 4 and 1/16, factors of powers of two: AP2 changes nothing."""
    ours, theirs = ShiftBatchNorm(4, eps=1e-30).double(), nn.BatchNorm1d(4, eps=1e-30, momentum=0.125).double()
    theirs = nn.BatchNorm2d(4, eps=1e-30, momentum=0.125).double() if len(shape) == 4 else theirs
    factors = torch.tensor([1.0, -4.0, 0.5, 2.0], dtype=torch.float64)
    signs = torch.ones(shape, dtype=torch.float64)
    signs[: shape[0] // 2] = -1
    per_channel = (1, -1, *[1] * (len(shape) - 2))
    size = torch.tensor([2.0, 0.25, 2.0, 0.25]).double().reshape(per_channel)
    x = signs * size + torch.arange(4).double().reshape(per_channel)
    grad = torch.randn(shape, dtype=torch.float64)
    results = []
    for bn in (ours, theirs):
        bn.weight.data, bn.bias.data = factors.clone(), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
        leaf = x.clone().requires_grad_()
        y = bn(leaf)
        y.backward(grad)
        results.append((y.detach(), leaf.grad, bn.weight.grad, bn.bias.grad, bn.running_mean))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    biased = 7 / 8 + 1 / 8 * size.flatten() ** 2
    torch.testing.assert_close(ours.running_var, biased)
    count = x.numel() // 4
    torch.testing.assert_close(theirs.running_var, 7 / 8 + 1 / 8 * size.flatten() ** 2 * count / (count - 1))
    theirs.running_var.copy_(torch.tensor([4.0, 1.0, 0.25, 16.0]))  # statistics whose square root is a power of two
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "num_batches_tracked"})
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 1000), st.floats(-10, 10))
def test_the_output_is_within_the_error_of_four_roundings(seed, scale, shift):
    """AP2 is off by at most √2: var by √2, 1/σ by 2^¼ and then √2, so the output lies within 2^(3/4) of torch's."""
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(16, 3, dtype=torch.float64, generator=generator) + shift
    ours, theirs = ShiftBatchNorm(3, eps=1e-30).double()(x), nn.BatchNorm1d(3, eps=1e-30).double()(x)
    ratio = (ours / theirs).log2().abs()
    assert ratio.max() <= 0.75 + 1e-9
    assert torch.equal(ours.sign(), theirs.sign())


def test_running_statistics_move_and_are_used_in_eval_mode():
    bn = ShiftBatchNorm(2)
    x = torch.tensor([[1.0, 10.0], [5.0, 10.5]])
    bn(x)
    assert bn.running_mean.tolist() == [3 / 8, 10.25 / 8]
    assert bn.running_var.tolist() == pytest.approx([7 / 8 + 4 / 8, 7 / 8 + 0.0625 / 8])
    bn(x)
    assert bn.running_mean.tolist() == [3 / 8 * (1 + 7 / 8), 10.25 / 8 * (1 + 7 / 8)]
    frozen = copy.deepcopy(bn.state_dict())
    bn.eval()
    y = bn(x)
    assert all(torch.equal(frozen[name], value) for name, value in bn.state_dict().items())
    assert torch.equal(y, x - bn.running_mean)  # both deviations round to 1
    assert torch.equal(bn(x[:1]), y[:1])  # no batch is needed


def test_bad_batches_and_momenta_are_refused():
    bn = ShiftBatchNorm(3)
    for x, error, message in BAD_FLOATS.values():
        with pytest.raises(error, match=message):
            bn(x)
    for shape in ((3,), (2, 4), (2, 3, 2, 2, 2)):
        with pytest.raises(ValueError, match=r"x must be \(N, 3, ...\) with 2 to 4 axes"):
            bn(torch.ones(shape))
    with pytest.raises(ValueError, match="x must have more than one value per channel, got"):
        bn(torch.ones(1, 3))
    for momentum in (0.1, 0.0, -0.125, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="momentum must be a power of two"):
            ShiftBatchNorm(3, momentum=momentum)


def test_a_constant_channel_gives_its_bias_and_nan_stays_in_its_channel():
    bn = ShiftBatchNorm(2)
    bn.bias.data = torch.tensor([0.5, -0.5])
    assert bn(torch.full((4, 2), 7.0)).tolist() == [[0.5, -0.5]] * 4
    x = torch.randn(4, 2)
    x[0, 0] = torch.nan
    y = bn(x)
    assert y[:, 0].isnan().all()
    assert y[:, 1].isfinite().all()


def test_non_contiguous_batches():
    x = torch.randn(2, 6, 5, 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(ShiftBatchNorm(4)(x), ShiftBatchNorm(4)(x.contiguous()))


def test_use_shift_batch_norm_replaces_all():
    for model, x in (
        (MLP((12, 8, 6, 3), batch_norm=True), torch.randn(4, 12)),
        (VGGSmall(1, 8, 3, (4, 4, 4, 4, 4, 4), fc=(5,)), torch.randn(4, 1, 8, 8)),
    ):
        expected = sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
        assert use_shift_batch_norm(model) is model
        assert sum(isinstance(m, ShiftBatchNorm) for m in model.modules()) == expected
        assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
        model(x).sum().backward()
    with pytest.raises(ValueError, match="model has no batch normalization to replace"):
        use_shift_batch_norm(model)


# --- AdaMax --------------------------------------------------------------------------------------------------------


def parameters_after(make_optimizer, gradients):
    p = nn.Parameter(torch.linspace(-1, 1, gradients.shape[1], dtype=gradients.dtype))
    optimizer = make_optimizer([p])
    history = []
    for gradient in gradients:
        p.grad = gradient.clone()
        optimizer.step()
        history.append(p.detach().clone())
    return torch.stack(history)


@pytest.mark.parametrize("lr", [2**-10, 0.003, 0.5])
def test_without_ap2_it_is_torchs_adamax(monkeypatch, lr):
    monkeypatch.setattr(shift_based, "ap2", lambda x: x)
    gradients = torch.randn(30, 7, dtype=torch.float64) * torch.logspace(-4, 4, 7, dtype=torch.float64)
    gradients[:5, 3] = 0
    betas = (1 - 2**-3, 1 - 2**-10)
    ours = parameters_after(lambda p: ShiftAdaMax(p, lr=lr), gradients)
    theirs = parameters_after(lambda p: torch.optim.Adamax(p, lr=lr, betas=betas), gradients)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_adamax_multiplies_by_powers_of_two_only(monkeypatch):
    p = nn.Parameter(torch.randn(50))
    optimizer = ShiftAdaMax([p], lr=0.003)
    for step in range(4):
        p.grad = torch.randn(50)
        p.grad[0] = 0
        with OnlyShifts(monkeypatch) as watcher:
            optimizer.step()
        assert watcher.shifts == 4, step  # (1-β1)·, (1-β2)·, /AP2(v), rate·


def test_adamax_line_by_line():
    def power(value):
        return ap2(torch.tensor(value, dtype=torch.float64)).item()

    gradients = torch.randn(12, 3, dtype=torch.float64)
    ours = parameters_after(lambda p: ShiftAdaMax(p, lr=0.003), gradients)
    for column, start in enumerate((-1.0, 0.0, 1.0)):
        p, m, v = start, 0.0, 0.0
        for t, g in enumerate(gradients[:, column].tolist(), start=1):
            m = 0.875 * m + 0.125 * g
            v = max((1 - 2**-10) * v, abs(g) + 1e-8)
            p -= power(0.003 / (1 - 0.875**t)) * m / power(v)
            assert ours[t - 1, column].item() == pytest.approx(p, rel=1e-12, abs=1e-15)


def test_the_learning_rate_acts_in_octaves():
    gradients = torch.randn(1, 5)
    steps = [parameters_after(lambda p, lr=lr: ShiftAdaMax(p, lr=lr), gradients) for lr in (0.0008, 0.001, 0.0015)]
    assert torch.equal(steps[0], steps[1])  # all of 2^-10.5 … 2^-9.5 is 2^-10 (times 8 in the first step)
    assert not torch.equal(steps[1], steps[2])


def test_a_parameter_without_gradients_stays():
    p, q, r = (nn.Parameter(torch.ones(3)) for _ in range(3))
    optimizer = ShiftAdaMax([p, q, r])
    p.grad, q.grad = torch.ones(3), torch.zeros(3)
    optimizer.step()
    assert (p < 1).all()
    assert torch.equal(q, torch.ones(3))
    assert torch.equal(r, torch.ones(3))
    assert r not in optimizer.state


def test_it_finds_a_minimum_with_a_closure_and_groups():
    p, q = nn.Parameter(torch.tensor([5.0, -3.0])), nn.Parameter(torch.tensor([4.0]))
    optimizer = ShiftAdaMax([{"params": [p], "lr": 0.05}, {"params": [q], "lr": 0.1}])

    def closure():
        optimizer.zero_grad()
        loss = (p - 1).square().sum() + (q + 2).square().sum()
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    assert first == 16 + 16 + 36
    for _ in range(400):
        last = optimizer.step(closure).item()
    assert last < 1e-3 * first


def test_state_is_restored():
    gradients = torch.randn(10, 4)
    p = nn.Parameter(torch.linspace(-1, 1, 4))
    optimizer = ShiftAdaMax([p], lr=0.01)
    for gradient in gradients[:5]:
        p.grad = gradient
        optimizer.step()
    copied = nn.Parameter(p.detach().clone())
    resumed = ShiftAdaMax([copied], lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in gradients[5:]:
        for q, o in ((p, optimizer), (copied, resumed)):
            q.grad = gradient
            o.step()
    assert torch.equal(p, copied)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr and eps must be positive"),
        ({"lr": float("nan")}, "lr and eps must be positive"),
        ({"eps": 0.0}, "lr and eps must be positive"),
        ({"betas": (0.9, 1 - 2**-10)}, "1 - beta1 must be a power of two"),
        ({"betas": (0.875, 0.999)}, "1 - beta2 must be a power of two"),
        ({"betas": (1.0, 0.5)}, "1 - beta1 must be a power of two"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ShiftAdaMax([nn.Parameter(torch.ones(1))], **options)


def test_a_normalization_at_two_places_is_replaced_at_both():
    norm = nn.BatchNorm1d(4)
    model = use_shift_batch_norm(nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 4), norm))
    assert isinstance(model[1], ShiftBatchNorm)
    assert model[3] is model[1]


def test_settings_and_mode_of_a_normalization_are_kept():
    frozen = nn.BatchNorm1d(4, eps=0.25, momentum=0.01, affine=False).eval()
    model = use_shift_batch_norm(nn.Sequential(nn.Linear(4, 4), frozen, nn.BatchNorm1d(4)))
    assert (model[1].eps, model[1].momentum, model[1].training, model[2].training) == (0.25, 2**-7, False, True)
    assert (model[2].eps, model[2].momentum) == (1e-5, 2**-3)
    assert [parameter.requires_grad for parameter in model[1].parameters()] == [False, False]
    assert all(parameter.requires_grad for parameter in model[2].parameters())


def test_normalizations_that_shifts_cannot_replace_are_refused():
    class Shifted(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x) + 1

    for norm, message in (
        (nn.BatchNorm1d(4, momentum=None), "1 must have running statistics and a momentum"),
        (nn.BatchNorm1d(4, track_running_stats=False), "1 must have running statistics and a momentum"),
        (Shifted(4), r"1 \(Shifted\) has a forward of its own, or hooks"),
    ):
        model = nn.Sequential(nn.Linear(4, 4), norm, nn.BatchNorm1d(4))
        with pytest.raises(ValueError, match=message):
            use_shift_batch_norm(model)
        assert type(model[2]) is nn.BatchNorm1d  # nothing has changed


def test_without_running_statistics_a_test_uses_those_of_its_batch_and_leaves_the_running_ones():
    torch.manual_seed(0)
    x = 3 * torch.randn(64, 5, dtype=torch.float64) + 1
    training = ShiftBatchNorm(5).double()
    expected = training(x)
    by_batch = ShiftBatchNorm(5, running=False).double().eval()
    assert torch.equal(by_batch(x), expected)
    assert by_batch.running_mean.abs().max() == 0
    assert not torch.equal(by_batch(x[:10]), by_batch(x)[:10])  # an answer depends on the other images
    assert torch.equal(training.eval()(x[:10]), training(x)[:10])
    with pytest.raises(ValueError, match="x must have more than one value per channel, got"):
        by_batch(x[:1])
