"""How many processors this process may use, which can be fewer than the machine has."""

import math
import os
from contextlib import suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux keeps a container's share of processor time: microseconds granted, or `max`, and out of how many."""


def usable_processors() -> int:
    """The processors that the process may run on, or what its share of processor time amounts to, rounded up, if less.

    Schedulers bind a job to some processors, as `docker run --cpuset-cpus` does; `docker run --cpus` limits the time.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        granted, period = QUOTA.read_text(encoding="ascii").split()
        if granted != "max":
            return max(1, min(bound, math.ceil(int(granted) / int(period))))
    return bound
