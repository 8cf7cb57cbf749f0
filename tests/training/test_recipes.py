"""What the chapters' runs share: learning rates by their formula, clipping by hand, and train against fit."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from fewbits.data import Dataset, load
from fewbits.nets import MLP
from fewbits.training import (
    accuracy,
    adam,
    centred,
    clip_gradients,
    correct,
    cosine,
    exponential,
    fit,
    half_size,
    one_cycle,
    percent,
    seed_everything,
    sgd,
    squared_hinge,
    step_count,
    train,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def rates(schedule, steps: int, groups: list[float]) -> list[list[float]]:
    """Learning rate of each group at each step."""
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in groups], momentum=0.9)
    scheduler = schedule(optimizer, steps)
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    found.append([group["lr"] for group in optimizer.param_groups])
    return found


def test_the_exponential_schedule_falls_by_the_same_factor_to_its_final_share():
    first = [row[0] for row in rates(partial(exponential, final=1e-3), 10, [0.1, 0.3])]
    assert first[-1] == pytest.approx(1e-4)
    assert [after / before for before, after in pairwise(first)] == pytest.approx([10**-0.3] * 10)


def test_the_squared_hinge_by_hand():
    logits = torch.tensor([[2.0, -0.5, 0.5], [0.0, 0.0, -3.0]])
    # Targets + - - and - + -: margins 2, 0.5, -0.5 and 0, 0, 3; max(0, 1 - margin)² is 0, 0.25, 2.25, 1, 1, 0.
    assert squared_hinge(logits, torch.tensor([0, 1])).item() == pytest.approx(4.5 / 6)


def test_the_cosine_falls_from_the_learning_rate_to_zero():
    for step, (first, second) in enumerate(rates(cosine, 10, [0.1, 0.3])):
        half = 0.5 * (1 + math.cos(math.pi * step / 10))
        assert first == pytest.approx(0.1 * half, abs=1e-15)
        assert second == pytest.approx(0.3 * half, abs=1e-15)


def test_one_cycle_rises_to_the_learning_rate_of_each_group_and_falls():
    found = rates(one_cycle, 101, [0.1, 0.3])[:-1]
    for group, peak in enumerate((0.1, 0.3)):
        column = [row[group] for row in found]
        top = column.index(max(column))
        assert column[0] == pytest.approx(peak / 25)
        assert max(column) == pytest.approx(peak, rel=1e-2)
        assert column[: top + 1] == sorted(column[: top + 1])
        assert column[top:] == sorted(column[top:], reverse=True)
        assert column[-1] < peak / 1e4


def test_optimizers_leave_out_what_asks_for_no_gradient():
    model = MLP((4, 3, 2))
    frozen = next(model.parameters()).requires_grad_(False)
    for optimizer in (adam(model, 0.1, weight_decay=0.2), sgd(model, 0.1, nesterov=True, weight_decay=0.2)):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (0.1, 0.2)
        assert all(parameter is not frozen for parameter in group["params"])
        assert len(group["params"]) == len(list(model.parameters())) - 1
    assert sgd(model, 0.1).param_groups[0]["momentum"] == 0.9
    assert not sgd(model, 0.1).param_groups[0]["nesterov"]


@pytest.mark.parametrize(("gradients", "factor"), [((3.0, 4.0), 1 / 5), ((0.3, 0.4), 1)])
def test_gradients_are_scaled_down_together(gradients, factor):
    """A norm of 5 becomes 1 over both groups, one of 0.5 stays."""
    parameters = [nn.Parameter(torch.zeros(())) for _ in gradients]
    optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in parameters], lr=1.0)
    clip_gradients(optimizer)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer.step()
    assert [-p.item() for p in parameters] == pytest.approx([factor * g for g in gradients], rel=1e-5)


@pytest.mark.parametrize(
    ("samples", "epochs", "batch", "steps"), [(128, 3, 128, 3), (129, 3, 128, 6), (1, 2, 128, 2), (9, 0, 4, 0)]
)
def test_steps_by_hand(samples, epochs, batch, steps):
    assert step_count(samples, epochs, batch) == steps


@pytest.mark.parametrize("schedule", [cosine, one_cycle, None])
def test_train_is_fit_with_a_schedule_over_all_steps(digits, schedule):
    ends = []
    for short in (True, False):
        seed_everything(0)
        model = MLP((64, 8, 10))
        optimizer = sgd(model, 0.1)
        if short:
            history = train(model, digits, optimizer, epochs=2, seed=3, schedule=schedule, batch_size=100)
        else:
            scheduler = schedule and schedule(optimizer, 2 * math.ceil(len(digits.train_images) / 100))
            options = {"optimizer": optimizer, "scheduler": scheduler, "batch_size": 100, "seed": 3}
            history = fit(model, digits.train_images, digits.train_labels, epochs=2, **options)
        ends.append((model.state_dict(), [record["loss"] for record in history]))
    (first, first_losses), (second, second_losses) = ends
    assert first_losses == second_losses
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_options_of_fit_are_passed_on(digits):
    calls = []
    model = MLP((64, 8, 10))
    train(model, digits, adam(model, 1e-3), epochs=1, seed=0, batch_size=500, after_step=calls.append)
    assert calls == [model] * 3


def test_percent_is_a_hundred_times_the_accuracy(digits):
    model = MLP((64, 8, 10))
    test = digits.test_images, digits.test_labels
    assert percent(model, digits) == 100 * correct(model, *test) / 364
    assert percent(model, digits, batch_size=7) == pytest.approx(100 * accuracy(model, *test))


def test_half_size_and_centred_by_hand():
    images = torch.tensor([[0.0, 1.0, 0.5, 0.5], [0.0, 1.0, 0.0, 0.0]])[None, None]
    labels = torch.tensor([1])
    data = Dataset("hand", images, labels, images, labels, ("a", "b"))
    for images in (half_size(data).train_images, half_size(data).test_images):
        assert images.tolist() == [[[[0.5, 0.25]]]]
    assert centred(half_size(data)).test_images.tolist() == [[[[0.0, -0.5]]]]
    assert half_size(data).train_labels is labels
