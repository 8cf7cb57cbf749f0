"""Timing in turns: every contestant once a round, so that a busy moment hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# A call may return its own seconds, where another process has measured them.
Call = Callable[[], object]
TURN = 0.02  # seconds


@dataclass(frozen=True)
class Times:
    """Seconds of a call, one number a round: on the wall's clock, and of the processor in this thread."""

    wall: list[float]
    cpu: list[float]


def in_turns(
    calls: Mapping[str, Call],
    rounds: int,
    wall: Callable[[], float] = time.perf_counter,
    cpu: Callable[[], float] = time.thread_time,
) -> dict[str, Times]:
    """Times of each contestant, after one call that compiles and is not timed.

    Args:
        calls: contestants by name.
        rounds: of turns. A turn is one call, or as many as fit in 20 ms, and counts with their mean. (The clock of a
            thread sometimes stands still for a single short call.)
        wall, cpu: clocks.
    """
    times = {name: Times([], []) for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            own, count, started, started_cpu = 0.0, 0, wall(), cpu()
            while not count or wall() - started < TURN:
                measured, count = call(), count + 1
                own += measured if isinstance(measured, float) else 0.0
            passed, passed_cpu = wall() - started, cpu() - started_cpu
            times[name].wall.append((own or passed) / count)
            times[name].cpu.append((own or passed_cpu or passed) / count)
    return times


def speedups(times: Mapping[str, Times], by_wall: bool = False) -> dict[str, dict[str, float]]:
    """How many times as fast as the first contestant each one is: median over rounds ("speedup"), "low" and "high".

    Both times of a ratio are of the same round. They are those of the processor, which other programs lengthen less,
    or of the wall.
    """
    taken = {name: each.wall if by_wall else each.cpu for name, each in times.items()}
    first = next(iter(taken.values()))
    ratios = {name: [a / b for a, b in zip(first, own, strict=True)] for name, own in taken.items()}
    return {
        name: {"speedup": statistics.median(values), "low": min(values), "high": max(values)}
        for name, values in ratios.items()
    }
