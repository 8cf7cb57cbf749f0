"""Time several forms of one training step in turns, so that a machine that slows down half-way does not matter."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def make_step(model: nn.Module, images: Tensor, labels: Tensor, autocast: bool = False) -> Callable[[], None]:
    """A function that runs forward, backward and one SGD step; with ``autocast`` the forward pass is in bfloat16."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=autocast):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def print_ratios(steps: dict[str, Callable[[], None]], reference: str, rounds: int = 9) -> list[dict]:
    """Median and range of each step's time over the reference's of the same round, after two rounds of warm-up.

    Beside it stands the ratio of the processor's time, of all threads, which other programs lengthen less.

    Returns:
        What is printed, a row for each step.
    """
    seconds, cpu = {name: [] for name in steps}, {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            step()
            seconds[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - started_cpu)
    times = {name: torch.tensor(values[2:]) for name, values in seconds.items()}
    width = max(map(len, steps))
    rows = []
    for name, values in times.items():
        ratios = values / times[reference]
        low, middle, high = (round(ratios.quantile(q).item(), 3) for q in (0.0, 0.5, 1.0))
        rows.append(
            {"form": name, "ratio": middle, "low": low, "high": high, "seconds": round(values.median().item(), 4)}
        )
        by_cpu = statistics.median(a / max(b, 1e-9) for a, b in zip(cpu[name][2:], cpu[reference][2:], strict=True))
        spread = f"(range {low:.2f} to {high:.2f}; by processor time {by_cpu:.2f}), {rows[-1]['seconds']:.3f} s"
        print(f"  {name:{width}s} {middle:.2f} × {reference} {spread}")
    return rows
