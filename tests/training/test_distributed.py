"""Two processes train what one process trains. As a script, this file is what each of the two does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fewbits.data import load
from fewbits.mobileone import MobileOne
from fewbits.nets import MLP
from fewbits.training import distributed, fit, load_state, save_state

NETS = {
    "mlp": lambda: MLP((64, 24, 10)).double(),  # has no batch normalization, so the processes differ by rounding only
    "mobileone": lambda: MobileOne(in_channels=1, widths=(8,), depths=(1,), classes=10, branches=2, merged=True),
}
SAMPLES = 171


def train(net: str, folder: Path, name: str = "alone", batch_size: int = 33, **arguments) -> dict:
    """Three epochs of batches of 33 and at last of 6: the shares of two processes are not always equal."""
    data = load("digits")
    images, labels = data.train_images[:SAMPLES], data.train_labels[:SAMPLES]
    torch.manual_seed(0)
    model = NETS[net]()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    optimizer.register_step_pre_hook(clip)
    history = fit(
        model,
        images,
        labels,
        epochs=3,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3 * 6),
        batch_size=batch_size,
        checkpoint=folder / f"{name}.safetensors",
        evaluate_on=(images, labels),
        **arguments,
    )
    return {"model": dict(model.state_dict()), "history": [row | {"seconds": None} for row in history]}


def clip(optimizer: torch.optim.Optimizer, *_) -> None:
    """Looks at all gradients at once, so they must have been averaged before."""
    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 0.5)


def in_each_process(folder: Path) -> None:
    """Train several times, and write what this process has then."""
    torch.set_num_threads(1)
    with distributed.process_group():
        rank = torch.distributed.get_rank()
        results = {"mlp": train("mlp", folder, "mlp"), "mobileone": train("mobileone", folder, "mobileone")}
        for _ in range(3):  # the clocks differ, and one process's counts
            results["interrupted"] = train("mlp", folder, "interrupted", minutes=0 if rank == 0 else 1000)
        for name, error, arguments in (
            ("small", ValueError, {"batch_size": SAMPLES - 1}),
            ("broken", FloatingPointError, {"loss": (lambda logits, labels: logits.square().sum() / (1 - rank))}),
        ):
            with pytest.raises(error) as caught:
                train("mlp", folder, name, **arguments)
            results[name] = str(caught.value)
        save_state(folder / f"rank-{rank}.safetensors", results)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    run = subprocess.run([*command, folder], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return [load_state(folder / f"rank-{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", ["mlp", "interrupted"])
def test_two_processes_compute_what_one_computes(ranks, name, tmp_path):
    alone = train("mlp", tmp_path)
    for rank in ranks:
        for key, tensor in alone["model"].items():
            torch.testing.assert_close(rank[name]["model"][key], tensor, rtol=1e-10, atol=1e-12)
        for row, expected in zip(rank[name]["history"], alone["history"], strict=True):
            assert row == expected | {"loss": pytest.approx(expected["loss"], rel=1e-10)}


def test_with_batch_normalization_the_processes_stay_alike(ranks):
    first, second = (rank["mobileone"] for rank in ranks)
    for key, tensor in first["model"].items():
        if "running" not in key:  # those of rank 0 are sent out before each step, not after the last
            assert torch.equal(tensor, second["model"][key]), key
    losses = [row["loss"] for row in first["history"]]
    assert losses == [row["loss"] for row in second["history"]]
    assert losses[-1] < losses[0] - 0.05


def test_what_breaks_in_one_process_stops_both(ranks):
    for rank in ranks:
        assert rank["broken"] == "the loss is inf in epoch 1, step 1 of 6"
        assert rank["small"] == f"batch_size {SAMPLES - 1} leaves a batch of 1 for 2 processes"


def test_alone_everything_is_its_own():
    x = torch.arange(5)
    model = nn.Linear(2, 2)
    assert distributed.world_size() == 1
    assert distributed.is_first()
    assert distributed.share(x) is x
    assert distributed.all_reduce(x) is x
    assert distributed.parallel(model) is model
    assert distributed.broadcast(2.5) == 2.5
    with distributed.process_group():
        assert distributed.world_size() == 1


if __name__ == "__main__":
    in_each_process(Path(sys.argv[1]))
