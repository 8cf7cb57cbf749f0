import csv
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewbits.data import load, random_crop_flip
from fewbits.nets import MLP
from fewbits.training import accuracy, correct, fit, load_state, save_state, seed_everything

SAMPLES, BATCH, EPOCHS = 70, 16, 4
STEPS = 5  # per epoch: four of 16 and one of 6


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are too small for more, and waiting for a second core takes most of the time on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def problem():
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(SAMPLES, 2, 8, 8, generator=generator)
    return images, (images[:, 0].mean((1, 2)) > images[:, 1].mean((1, 2))).long()


def network():
    """Convolution, batch norm (buffers) and dropout (global generator): all kinds of state that a resume must keep."""
    torch.manual_seed(3)
    layers = [
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Dropout(0.3),
    ]
    return nn.Sequential(*layers, MLP((8 * 36, 12, 2)))


def sgd(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=EPOCHS * STEPS)


def adam(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, [7, 13], gamma=0.3)


def sequential(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    parts = [torch.optim.lr_scheduler.LinearLR(optimizer), torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15)]
    return optimizer, torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [5])


class Killed(Exception):
    pass


class ClipAndMaybeDie:
    """Clips the weights, as BinaryConnect does, and raises at the given step of this process."""

    def __init__(self, die_at=None):
        self.step, self.die_at = 0, die_at

    def __call__(self, model):
        self.step += 1
        for parameter in model.parameters():
            parameter.data.clamp_(-0.3, 0.3)
        if self.step == self.die_at:
            raise Killed


class Run:
    """One process: fresh model and optimizer objects, and a global generator in some other state."""

    def __init__(self, problem, optimizers, **arguments):
        self.model = network()
        self.optimizer, self.scheduler = optimizers(self.model)
        torch.manual_seed(random.randrange(1000))
        defaults = {"epochs": EPOCHS, "batch_size": BATCH, "augment": random_crop_flip, "after_step": ClipAndMaybeDie()}
        self.arguments = defaults | {"evaluate_on": problem} | arguments
        self.problem = problem

    def fit(self, **changes):
        arguments = self.arguments | changes
        return fit(self.model, *self.problem, optimizer=self.optimizer, scheduler=self.scheduler, **arguments)


def assert_same_run(run, reference, history, expected):
    assert [{**record, "seconds": 0} for record in history] == [{**record, "seconds": 0} for record in expected]
    for name, value in reference.model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name
    ours, theirs = run.optimizer.state_dict(), reference.optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    for index, state in theirs["state"].items():
        for key, value in state.items():
            assert torch.equal(ours["state"][index][key], value), (index, key)
    assert run.scheduler.state_dict() == reference.scheduler.state_dict()


@pytest.mark.parametrize("optimizers", [sgd, adam, sequential])
@pytest.mark.parametrize("form", [{}, {"channels_last": True}, {"autocast": True}], ids=str)
@pytest.mark.parametrize("die_at", [1, 2 * STEPS, 2 * STEPS + 3, 4 * STEPS])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, problem, optimizers, form, die_at):
    reference = Run(problem, optimizers, **form)
    expected = reference.fit()
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        Run(problem, optimizers, checkpoint=path, **form).fit(after_step=ClipAndMaybeDie(die_at))
    resumed = Run(problem, optimizers, checkpoint=path, **form)
    history = resumed.fit()
    assert_same_run(resumed, reference, history, expected)
    assert resumed.arguments["after_step"].step == (EPOCHS - (die_at - 1) // STEPS) * STEPS  # nothing trained twice


def test_minutes_stop_after_an_epoch_and_the_same_objects_go_on(tmp_path, problem):
    reference = Run(problem, sgd)
    expected = reference.fit()
    run = Run(problem, sgd, checkpoint=tmp_path / "run", minutes=0)
    for epochs in range(1, EPOCHS + 1):
        history = run.fit()
        assert len(history) == epochs
    assert_same_run(run, reference, history, expected)
    assert run.fit(minutes=None) == history  # complete: nothing left to do


def test_without_a_schedule_the_run_can_be_extended(tmp_path, problem):
    def plain(model):
        return torch.optim.Adam(model.parameters()), None

    reference = Run(problem, plain)
    expected = reference.fit()
    Run(problem, plain, checkpoint=tmp_path / "run").fit(epochs=2)
    run = Run(problem, plain, checkpoint=tmp_path / "run")
    history = run.fit()
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), reference.model.parameters(), strict=True))
    assert [record["loss"] for record in history] == [record["loss"] for record in expected]
    with pytest.raises(ValueError, match="4 epochs already, more than epochs=3"):
        Run(problem, plain, checkpoint=tmp_path / "run").fit(epochs=3)


def damage_generator(state):
    state["generator"] = torch.Generator().manual_seed(99).get_state()


def damage_momentum(state):
    state["optimizer"]["state"][0]["momentum_buffer"] *= 1 + 1e-6


def damage_schedule(state):
    state["scheduler"]["last_epoch"] -= 1


def damage_buffer(state):
    state["model"]["1.running_mean"] += 1e-6


@pytest.mark.parametrize("damage", [damage_generator, damage_momentum, damage_schedule, damage_buffer])
def test_the_comparison_notices_each_part_of_the_checkpoint(tmp_path, problem, damage):
    reference = Run(problem, sgd)
    expected = reference.fit()
    path = tmp_path / "run"
    Run(problem, sgd, checkpoint=path, minutes=0).fit()
    state = load_state(path)
    damage(state)
    save_state(path, state)
    run = Run(problem, sgd, checkpoint=path)
    history = run.fit()
    with pytest.raises(AssertionError):
        assert_same_run(run, reference, history, expected)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"batch_size": 8}, "batch_size was 16, is now 8"),
        ({"augment": None}, "augment was 'random_crop_flip', is now None"),
        ({"after_step": None}, "after_step was"),
        ({"loss": F.multi_margin_loss}, "loss was 'cross_entropy', is now 'multi_margin_loss'"),
        ({"autocast": True}, "autocast was False"),
        ({"channels_last": True}, "channels_last was False"),
    ],
)
def test_other_settings_are_refused(tmp_path, problem, changes, name):
    Run(problem, sgd, checkpoint=tmp_path / "run", minutes=0).fit()
    run = Run(problem, sgd, checkpoint=tmp_path / "run")
    before = [parameter.clone() for parameter in run.model.parameters()]
    with pytest.raises(ValueError, match=f"other settings: {name}"):
        run.fit(**changes)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


def other_optimizers(**changes):
    def build(model):
        values = {"lr": 0.05, "momentum": 0.9, "peak": 0.1, "steps": EPOCHS * STEPS, "weight_decay": 1e-3} | changes
        keys = ("lr", "momentum", "weight_decay")
        optimizer = torch.optim.SGD(model.parameters(), **{key: values[key] for key in keys})
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, values["peak"], total_steps=values["steps"])

    return build


@pytest.mark.parametrize(
    ("optimizers", "name"),
    [
        (adam, "optimizer"),
        (sequential, "optimizer group 0: "),
        (lambda model: (sgd(model)[0], None), "optimizer group 0: "),
        (other_optimizers(weight_decay=0.1), "optimizer group 0: weight_decay was 0.001, is now 0.1"),
        (other_optimizers(peak=0.2), "optimizer group 0: initial_lr"),
        (other_optimizers(steps=30), r"scheduler: _schedule_phases|scheduler: total_steps was 20, is now 30"),
    ],
)
def test_another_optimizer_or_schedule_is_refused(tmp_path, problem, optimizers, name):
    Run(problem, sgd, checkpoint=tmp_path / "run", minutes=0).fit()
    with pytest.raises(ValueError, match=name):
        Run(problem, optimizers, checkpoint=tmp_path / "run").fit()
    Run(problem, other_optimizers(), checkpoint=tmp_path / "run").fit()  # the same settings are not


def test_momentum_is_compared_unless_the_schedule_moves_it(tmp_path, problem):
    def cosine(momentum):
        def build(model):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
            return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)

        return build

    Run(problem, cosine(0.9), checkpoint=tmp_path / "run", minutes=0).fit()
    with pytest.raises(ValueError, match=r"optimizer group 0: momentum was 0.9, is now 0.5"):
        Run(problem, cosine(0.5), checkpoint=tmp_path / "run").fit()


def test_other_data_and_other_models_are_refused(tmp_path, problem):
    images, labels = problem
    path = tmp_path / "run"
    Run(problem, adam, checkpoint=path, minutes=0).fit()
    with pytest.raises(ValueError, match="labels was"):
        Run((images, 1 - labels), adam, checkpoint=path).fit()
    with pytest.raises(ValueError, match="images was"):
        Run((images[:-1], labels[:-1]), adam, checkpoint=path).fit()
    run = Run(problem, adam, checkpoint=path)
    run.model[3] = nn.Conv2d(8, 8, 3)
    with pytest.raises(ValueError, match=r"run does not fit the model: 3\.weight is"):
        run.fit()
    save_state(path, {"something": "else"})
    with pytest.raises(ValueError, match="not the checkpoint of a training run"):
        Run(problem, adam, checkpoint=path).fit()


def seen_batches(problem, **arguments):
    """The index of each sample in the order in which the network sees it, one list per epoch."""
    images = torch.arange(SAMPLES, dtype=torch.float32).view(-1, 1) / SAMPLES
    model = MLP((1, 2))
    seen = []
    model.register_forward_pre_hook(
        lambda module, inputs: seen.extend((inputs[0] * SAMPLES).round().flatten().tolist())
    )
    fit(model, images, problem[1], optimizer=torch.optim.SGD(model.parameters(), lr=0.1), epochs=3, **arguments)
    return [seen[start : start + SAMPLES] for start in range(0, len(seen), SAMPLES)]


def test_the_order_depends_on_seed_and_epoch_only(problem):
    first = seen_batches(problem)
    assert all(sorted(epoch) == list(range(SAMPLES)) for epoch in first)
    assert first[0] != first[1] != first[2] != first[0]
    torch.rand(5)
    assert seen_batches(problem, batch_size=7) == first
    # Epoch 1 of a seed is not epoch 2 of the seed before.
    others = seen_batches(problem, seed=1)
    assert all(epoch not in first for epoch in others)


def test_one_epoch_is_the_loop_written_out(problem):
    images, labels = problem
    model, twin = network(), network()
    history = fit(
        model, images, labels, epochs=1, batch_size=30, seed=5, optimizer=torch.optim.SGD(model.parameters(), 0.1)
    )
    order = torch.randperm(
        SAMPLES, generator=torch.Generator().manual_seed(int(np.random.SeedSequence((5, 1)).generate_state(1)[0]))
    )
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    torch.manual_seed(5)
    losses, hits = [], 0
    for index in (order[:30], order[30:60], order[60:]):
        optimizer.zero_grad()
        logits = twin(images[index])
        loss = F.cross_entropy(logits, labels[index])
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(index))
        hits += (logits.argmax(1) == labels[index]).sum().item()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert history[0]["loss"] == pytest.approx(sum(losses) / SAMPLES, rel=1e-12)
    assert history[0]["train_accuracy"] == hits / SAMPLES
    assert history[0]["lr"] == 0.1
    assert history[0]["test_accuracy"] is None
    assert not model.training


def test_it_learns_digits():
    digits = load("digits")
    torch.manual_seed(0)
    model = MLP((64, 64, 10), batch_norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    test = digits.test_images, digits.test_labels
    history = fit(model, digits.train_images, digits.train_labels, epochs=8, optimizer=optimizer, evaluate_on=test)
    assert history[-1]["test_accuracy"] > 0.93
    assert history[-1]["test_accuracy"] == accuracy(model, *test) == correct(model, *test) / 364


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, problem, bad):
    calls = []

    def loss(logits, labels):
        calls.append(1)
        return F.cross_entropy(logits, labels) * (bad if len(calls) == STEPS + 3 else 1)

    run = Run(problem, adam, loss=loss, checkpoint=tmp_path / "run")
    with pytest.raises(FloatingPointError, match=f"the loss is {bad} in epoch 2, step 3 of 5"):
        run.fit()
    assert len(load_state(tmp_path / "run")["history"]) == 1
    assert all(parameter.isfinite().all() for parameter in run.model.parameters())


def test_the_log_is_the_history(tmp_path, problem):
    path = tmp_path / "log.csv"
    Run(problem, sgd, checkpoint=tmp_path / "run", log=path, minutes=0).fit()
    history = Run(problem, sgd, checkpoint=tmp_path / "run", log=path, progress=True).fit()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == history
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]


def test_counting_keeps_modes_dtype_and_generator(problem):
    images, labels = problem
    model = network()
    model.train()
    model[1].eval()  # a frozen batch norm inside a model in training
    generator = torch.get_rng_state()
    count = correct(model, images, labels, batch_size=9)
    assert [module.training for module in (model, model[0], model[1], model[4])] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), generator)
    with torch.no_grad():
        assert count == (model.eval()(images).argmax(1) == labels).sum().item()
    double = network().double()
    double.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    dtypes = []
    correct(double, images, labels)
    assert dtypes == [torch.float64]


def test_counting_restores_modes_after_an_error(problem):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).train()
    with pytest.raises(RuntimeError):
        correct(model, *problem)
    assert model.training


def test_integer_inputs_and_models_without_parameters():
    tokens = torch.tensor([[0], [2], [1]])

    class OneHot(nn.Module):
        def forward(self, x):
            return F.one_hot(x[:, 0], 3)

    assert correct(OneHot(), tokens, torch.tensor([0, 2, 2])) == 2
    assert correct(nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(4, 3)), tokens, tokens[:, 0]) in range(4)


def test_training_in_float64(problem):
    model = network().double()
    fit(model, *problem, epochs=1, optimizer=torch.optim.Adam(model.parameters()))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("images", "labels", "changes", "message"),
    [
        (3, 2, {}, "as many images as labels"),
        (0, 0, {}, "at least one"),
        (3, 3, {"batch_size": 0}, "batch_size must be positive"),
        (3, 3, {"epochs": -1}, "epochs not negative"),
    ],
)
def test_bad_arguments_are_refused(images, labels, changes, message):
    model = MLP((1, 2))
    data = torch.zeros(images, 1), torch.zeros(labels, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        fit(model, *data, **({"epochs": 1, "optimizer": torch.optim.SGD(model.parameters())} | changes))
    if not changes:
        with pytest.raises(ValueError, match=message):
            accuracy(model, *data)


def test_seed_everything_seeds_all_three():
    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    seed_everything(5)
    first = draw()
    assert all(a != b for a, b in zip(first, draw(), strict=True))
    seed_everything(5)
    assert draw() == first
