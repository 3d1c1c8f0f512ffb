"""Ctrl-C, SIGTERM and SIGHUP: work stops at a consistent state, and the last message lists the saved results.

The command line handles the signals (`handled`). In a user's program this module has no effect: `faal.audit` raises
KeyboardInterrupt at Ctrl-C, and the other signals have that program's handlers.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those of Ctrl-C, of `kill` and of a closed terminal; the last exists on Unix only."""

SAME_SIGNAL = 0.3
"""Seconds within which a repeated signal is the same interrupt: a terminal and a launcher may both send it."""

SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work. The message lists the saved results; it is empty if nothing was started."""


@dataclass
class _State:
    received: int | None = None
    """The first signal."""
    at: float = 0.0
    """The time of receipt, by the monotonic clock."""
    pending: bool = False
    """Whether it has not been raised yet."""
    lost: str | None = None
    """The reason why the work must stop immediately without a signal of the user."""
    finishing: int = 0
    uninterrupted: int = 0
    """The number of open contexts of either kind in the main thread."""
    serves: bool = False
    """Whether this is a worker process, which is stopped by its parent."""


_state = _State()


def requested() -> bool:
    """Whether a signal was received: work in `finishing` stops at its next step."""
    return _state.received is not None


def status() -> int:
    """The exit status of a command that a signal stopped: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (_state.received or signal.SIGINT)


@contextmanager
def handled() -> Iterator[None]:
    """The context in which the main thread handles the signals: the first raises `Interrupted`, a second Ctrl-C
    ends the process immediately. A signal that the process ignores, such as Ctrl-C in a shell's background jobs,
    remains ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _state
    outer, _state = _state, _State()
    handlers = _install()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _state = outer


def serve() -> None:
    """Handle the signals in the jobs of a worker process; repeated signals are handled once."""
    _state.serves, _state.finishing = True, 1
    _install()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def starting_workers() -> Iterator[None]:
    """The context in which worker processes are started: signals are blocked, here until its end, there until `serve`.

    Otherwise a worker that is importing modules would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def job() -> Iterator[None]:
    """The context of one job of a worker process.

    Raises:
        Interrupted: a signal was received, before or in the context.
    """
    outer, _state.finishing = _state.finishing, 0
    try:
        if requested():
            raise Interrupted
        yield
    finally:
        _state.finishing = outer


@contextmanager
def finishing() -> Iterator[None]:
    """The context of work that checks `requested` at each of its steps; a signal that it did not handle is raised at
    the end."""
    with _counted("finishing"):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """The context of a short operation that must not be interrupted, such as writing a file."""
    with _counted("uninterrupted"):
        yield


@contextmanager
def reporting(message: Callable[[str], str]) -> Iterator[None]:
    """Set the message of an interrupt within the context.

    Args:
        message: called with the current message, which may be empty; returns the message on saved results.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(message(str(stop))) from None


def end_at_once(reason: str) -> None:
    """From another thread: raise KeyboardInterrupt in the main one, also in work that would finish its step."""
    if signal.getsignal(signal.SIGINT) is _handle:
        _state.lost = reason
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def _install() -> dict[signal.Signals, Any]:
    """Handle the signals; returns the previous handlers."""
    found = {number: signal.getsignal(number) for number in SIGNALS}
    handled_signals = {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}
    for number in handled_signals:
        signal.signal(number, _handle)
    return handled_signals


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.lost is not None:
        if not _state.uninterrupted:
            _raise_lost()
        return
    if _state.received is None:
        _state.received, _state.at = number, time.monotonic()
        if _state.finishing or _state.uninterrupted:
            _state.pending = True
        else:
            raise Interrupted
    elif number == signal.SIGINT and not _state.serves and time.monotonic() - _state.at > SAME_SIGNAL:
        if sys.stderr.isatty():
            os.write(2, SHOW_CURSOR)  # a progress bar hides it
        os._exit(128 + number)


def _raise_lost() -> None:
    reason, _state.lost = _state.lost, None
    raise Interrupted(reason)


@contextmanager
def _counted(kind: str) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    setattr(_state, kind, getattr(_state, kind) + 1)
    try:
        yield
    except KeyboardInterrupt:
        _state.pending = False
        raise
    finally:
        setattr(_state, kind, getattr(_state, kind) - 1)
    if _state.lost is not None and not _state.uninterrupted:
        _raise_lost()
    if _state.pending and not (_state.finishing or _state.uninterrupted):
        _state.pending = False
        raise Interrupted
