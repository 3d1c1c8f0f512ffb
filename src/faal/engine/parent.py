"""Worker processes end with their parent, even after a crash: a new start then has exclusive access to the files."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1
"""Linux's prctl: the signal to the process when its parent has ended."""


def end_with_parent() -> None:
    """In a process that `multiprocessing` started: exit when the parent has ended, even if it was killed.

    On Linux the kernel kills it, also during a long computation; on other systems a thread waits for the parent's
    end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        if not parent.is_alive():  # it has already ended
            os.kill(os.getpid(), signal.SIGKILL)
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
