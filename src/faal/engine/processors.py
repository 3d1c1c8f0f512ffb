"""The number of processors that this process may use, which can be smaller than the machine's."""

import math
import os
from contextlib import suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Linux's file with a container's quota of processor time: microseconds, or `max`, and the period."""


def usable_processors() -> int:
    """The number of processors that the process may run on, or its quota of processor time, rounded up, if less.

    Schedulers and `docker run --cpuset-cpus` bind a job to some processors; `docker run --cpus` limits the time.
    """
    limit = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = QUOTA.read_text(encoding="ascii").split()
        if quota != "max":
            return max(1, min(limit, math.ceil(int(quota) / int(period))))
    return limit
