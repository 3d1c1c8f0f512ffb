"""How many processors this process may use, which can be fewer than the machine has."""

import math
import os
from contextlib import suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The file in which Linux states a container's quota of processor time: microseconds, or `max`, and the period."""


def usable_processors() -> int:
    """The number of processors that the process may run on, or its quota of processor time, rounded up, if less.

    Schedulers bind a job to some processors, as `docker run --cpuset-cpus` does; `docker run --cpus` limits the time.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        granted, period = QUOTA.read_text(encoding="ascii").split()
        if granted != "max":
            return max(1, min(bound, math.ceil(int(granted) / int(period))))
    return bound
