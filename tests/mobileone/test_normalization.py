"""Normalization of a folded network: the same function before and after, the mean of a batch, an exact fold."""

import copy

import pytest
import strategies as own
import torch
from contract_networks import NETWORKS, make
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fewbits.bn_folding import output_statistics
from fewbits.core.quantizer import weight_layers
from fewbits.inq import Inq
from fewbits.mobileone import (
    MeanNorm,
    NormalizedLayer,
    fold_mean_norms,
    insert_batch_norms,
    insert_mean_norms,
)

NORMS = {"mean": (insert_mean_norms, MeanNorm), "batch": (insert_batch_norms, nn.BatchNorm2d)}


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.ReLU())
    return nn.Sequential(*layers, nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)).double().eval()


def small_images(count: int = 12) -> torch.Tensor:
    return torch.rand(count, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


# --- The norm --------------------------------------------------------------------------------------------------------


def test_a_channel_by_hand():
    """Of 1 and 5 the mean is 3: with an offset of 10 they become 8 and 12. The running mean goes a tenth of the way."""
    norm = MeanNorm(1).double()
    norm.offset.data[:] = 10.0
    norm.running_mean[:] = 2.0
    y = torch.tensor([[[1.0]], [[5.0]]]).double()
    assert norm.train()(y).flatten().tolist() == [8.0, 12.0]
    assert norm.running_mean.item() == pytest.approx(2.1)
    assert norm.eval()(y).flatten().tolist() == pytest.approx([8.9, 12.9])
    assert norm.bias().item() == pytest.approx(7.9)


@given(own.tensors(torch.float64, largest=100.0), st.integers(0, 3))
def test_it_is_the_batch_normalization_without_its_factor(x, seed):
    """nn.BatchNorm1d divides by √(var + eps): times that again, and with its offset, it is a norm by the mean."""
    y = x.reshape(-1, x.shape[-1] if x.dim() else 1, 1)
    if y.numel() // y.shape[1] < 2:
        return
    norm, reference = MeanNorm(y.shape[1]).double().train(), nn.BatchNorm1d(y.shape[1]).double().train()
    torch.manual_seed(seed)
    norm.offset.data.normal_()
    deviation = (y.var((0, 2), correction=0) + reference.eps).sqrt()
    reference.weight.data.copy_(deviation)
    reference.bias.data.copy_(norm.offset.detach())
    expected = reference(y)
    torch.testing.assert_close(norm(y), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(norm.running_mean, reference.running_mean, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_gradients_are_those_of_autograd(shape):
    torch.manual_seed(0)
    norm = MeanNorm(3).double().train()
    norm.offset.data.normal_()
    y = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    factors = torch.randn(shape, dtype=torch.float64)
    (norm(y) * factors).sum().backward()
    axes = [axis for axis in range(y.dim()) if axis != 1]
    again = y.detach().clone().requires_grad_()
    offset = norm.offset.detach().clone().requires_grad_()
    view = offset.reshape([-1 if axis == 1 else 1 for axis in range(y.dim())])
    ((again - again.mean(axes, keepdim=True) + view) * factors).sum().backward()
    torch.testing.assert_close(y.grad, again.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.offset.grad, offset.grad, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda a: norm(a), (y,))


# --- In and out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NORMS)
def test_the_function_stays(kind):
    insert, norm = NORMS[kind]
    model, images = small_net(), small_images()
    expected = model(images)
    changed = insert(copy.deepcopy(model), images, batch_size=5)
    torch.testing.assert_close(changed(images), expected, rtol=0, atol=1e-12)
    pairs = [module for module in changed.modules() if isinstance(module, NormalizedLayer)]
    assert [type(pair[1]) for pair in pairs] == [norm] * 3
    assert all(pair.layer.bias is None for pair in pairs)
    # It begins at the statistics of the images, so the batch of all images gives the same in training mode, too.
    torch.testing.assert_close(changed.train()(images), expected, rtol=0, atol=1e-4 if kind == "batch" else 1e-12)


def test_folding_gives_back_the_network(folded_network):
    model, shape = folded_network
    if not any(isinstance(layer, nn.Conv2d) for layer in weight_layers(model).values()):
        with pytest.raises(ValueError, match="no convolution"):
            insert_mean_norms(model, torch.rand(3, *shape).double())
        return
    images = torch.rand(6, *shape).double()
    changed = insert_mean_norms(copy.deepcopy(model), images)
    assert fold_mean_norms(changed) is changed
    assert list(changed.state_dict()) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(changed.state_dict()[name], tensor, rtol=0, atol=1e-12)
        assert "bias" in name or torch.equal(changed.state_dict()[name], tensor)


def test_what_training_has_learned_is_folded_exactly():
    model, images = small_net(), small_images()
    schedule = Inq(model)
    schedule.step(0.5)
    insert_mean_norms(model, images)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model.train()(images).square().sum().backward()
        optimizer.step()
    expected = model.eval()(images)
    weights = [layer.weight.detach().clone() for layer in weight_layers(model).values()]
    fold_mean_norms(model)
    torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-12 * expected.abs().max().item())
    assert list(weight_layers(model)) == ["0", "2", "4", "7"]
    for before, layer in zip(weights, weight_layers(model).values(), strict=True):
        assert torch.equal(before, layer.weight)
    # The schedule knows the layers still, and all of them end on their codebooks.
    schedule.step(1.0)
    assert list(schedule.encode()) == ["0.weight", "2.weight", "4.weight", "7.weight"]
    codes = schedule.encode()
    schedule.finish()
    assert all(
        torch.equal(codes[f"{name}.weight"].decode(), layer.weight) for name, layer in weight_layers(model).items()
    )


def test_a_convolution_over_one_axis():
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU()).double().eval()
    x = torch.randn(5, 2, 9, dtype=torch.float64)
    for insert in (insert_mean_norms, insert_batch_norms):
        torch.testing.assert_close(insert(copy.deepcopy(model), x)(x), model(x), rtol=0, atol=1e-12)


def test_statistics_are_those_of_all_images_and_positions():
    model, images = small_net(), small_images()
    layers = [model[0], model[7]]
    (mean, variance), (last, _) = output_statistics(model, layers, images, batch_size=5)
    with torch.no_grad():
        y = model[0](images)
        torch.testing.assert_close(mean, y.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(variance, y.var((0, 2, 3), correction=0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(last, model(images).mean(0), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="images must not be empty"):
        output_statistics(model, layers, images[:0])


# --- Refusals --------------------------------------------------------------------------------------------------------


class OwnForward(nn.Conv2d):
    def forward(self, x):
        return -super().forward(x)


def refused() -> dict[str, tuple[nn.Module, str]]:
    twice = nn.Conv2d(2, 2, 3, padding=1)
    quantized = nn.Sequential(nn.Conv2d(2, 2, 3))
    Inq(quantized, biases=True)
    unused = nn.Sequential(nn.Conv2d(2, 2, 3))
    unused[0].spare = nn.Conv2d(2, 2, 3)
    return {
        "called twice": (nn.Sequential(twice, twice), r"0 \(Conv2d\) is called more than once"),
        "quantized bias": (quantized, r"0 \(Conv2d\) has a quantized bias"),
        "own forward": (nn.Sequential(OwnForward(2, 2, 3)), r"0 \(OwnForward\) has a forward of its own"),
        "not called": (unused, r"\['0.spare'\] are not called"),
        "itself": (nn.Conv2d(2, 2, 3), "model is a convolution itself"),
        "none": (nn.Sequential(nn.ReLU()), "no convolution"),
    }


@pytest.mark.parametrize("insert", [insert_mean_norms, insert_batch_norms])
@pytest.mark.parametrize("name", refused())
def test_what_cannot_be_normalized_is_refused_and_unchanged(name, insert):
    model, message = refused()[name]
    before = copy.deepcopy(model.eval()).state_dict()
    with pytest.raises(ValueError, match=message):
        insert(model, torch.rand(3, 2, 6, 6))
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_training_mode_is_refused():
    model, images = small_net(), small_images()
    with pytest.raises(ValueError, match="model is in training mode"):
        insert_mean_norms(copy.deepcopy(model).train(), images)
    with pytest.raises(ValueError, match="no MeanNorm to fold"):
        fold_mean_norms(model)
    insert_mean_norms(model, images)
    model[0].train()
    with pytest.raises(ValueError, match=r"^0 is in training mode"):
        fold_mean_norms(model)
    assert isinstance(model[2], NormalizedLayer)


CHANGED = ("shared ReLU, residual", "functional", "own settings of BN", "padding, dilation, ceil")
CHANGED += ("sums, no activation", "chain", "Conv1d")
# Refused by name; all others have no convolution, or cannot be read.
REFUSED = {"called twice": r"^conv \(Conv2d\)", "subclasses": r"^3 \(Standardized\)"}
REFUSED |= {"MobileOne blocks": r"^2\.convolutions\.0 \(Conv2d\)", "branches on numbers": "^Branching"}


@pytest.mark.parametrize("name", CHANGED)
@torch.no_grad()
def test_other_people_s_networks_compute_the_same(name):
    model, images = make(name)
    expected = model.eval()(images)
    changed = insert_mean_norms(copy.deepcopy(model), images)
    torch.testing.assert_close(changed(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fold_mean_norms(changed)(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - set(CHANGED)))
def test_other_people_s_networks_are_refused_by_name(name):
    model, images = make(name)
    with pytest.raises(ValueError, match=REFUSED.get(name, "model has no convolution")):
        insert_mean_norms(model.eval(), images)
