"""The processor that this process runs on."""

import os
import sys


def usable_cores() -> int:
    """CPU cores that this process may use, at least 1.

    On Linux these are the cores of its affinity mask, in a container often fewer than the machine has. Other systems
    do not say, and all cores of the machine count.
    """
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
