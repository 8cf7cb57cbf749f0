"""Timing in turns: every contestant once a round, so that a busy moment hits all of them alike."""

import math
import time
from collections.abc import Callable, Mapping

# A call may return its own seconds, where another process has measured them.
Call = Callable[[], object]
TURN = 0.02  # seconds


def shortest(
    calls: Mapping[str, Call], rounds: int, seconds_each: float = 3.0, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Seconds of the shortest call of each contestant, after one call that compiles and is not timed.

    Args:
        calls: contestants by name.
        rounds: of turns. A turn is one call, or as many as fit in 20 ms; a contestant sits out once its turns have
            taken ``seconds_each`` together.
        clock: that of the wall. The processor time of a thread would leave out other processes, but it sometimes
            stands still for a call (0 s was seen), and the shortest call would be that one.
    """
    best, spent = dict.fromkeys(calls, math.inf), dict.fromkeys(calls, 0.0)
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            while spent[name] < seconds_each:
                before = clock()
                measured = call()
                seconds = measured if isinstance(measured, float) else clock() - before
                best[name] = min(best[name], seconds)
                if time.perf_counter() - started > TURN:
                    break
            spent[name] += time.perf_counter() - started
    return best
