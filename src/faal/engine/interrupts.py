"""Ctrl-C and SIGTERM: work ends where nothing is lost, and its last sentence is what is kept.

The command takes both signals while it runs (`taken`). Elsewhere nothing here acts: `faal.audit` in a user's program
raises KeyboardInterrupt at Ctrl-C, and SIGTERM does what that program has set.
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

SAME = 0.3
"""Seconds within which a repeated signal is the same interrupt: a terminal and a launcher may both send it."""

SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal ended the work. The message says what is kept; it is empty where nothing was begun."""


@dataclass
class _State:
    received: int | None = None
    """The first signal."""
    at: float = 0.0
    """When it came, by the monotonic clock."""
    pending: bool = False
    """Whether it has not been raised yet."""
    lost: str | None = None
    """Why the work has to end at once without a signal of the user."""
    finishing: int = 0
    unbroken: int = 0
    """How many contexts of either kind are open in the main thread."""
    serves: bool = False
    """Whether this is a worker process, which its parent ends."""


_state = _State()


def requested() -> bool:
    """Whether a signal has come: work that ends by itself does so at its next step."""
    return _state.received is not None


def status() -> int:
    """The exit status of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_state.received or signal.SIGINT)


@contextmanager
def taken() -> Iterator[None]:
    """The context in which the main thread takes Ctrl-C and SIGTERM: the first raises `Interrupted`, a second Ctrl-C
    ends the process at once. A signal that the process ignores, as a shell's background jobs do with Ctrl-C, remains
    ignored."""
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
    """Take both signals for the life of a worker process, in its jobs alone; repeated ones count as one."""
    _state.serves, _state.finishing = True, 1
    _install()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


@contextmanager
def starting_workers() -> Iterator[None]:
    """The context in which worker processes are started: signals wait, here until its end, there until `serve`.

    A worker that is still importing would end with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def job() -> Iterator[None]:
    """The context of one job of a worker process.

    Raises:
        Interrupted: a signal has come, now or earlier.
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
    """The context of work that reads `requested` at each of its steps; a signal that it has not heeded is raised at the
    end."""
    with _counted("finishing"):
        yield


@contextmanager
def unbroken() -> Iterator[None]:
    """The context of something short that is done as a whole, such as the writing of a file."""
    with _counted("unbroken"):
        yield


@contextmanager
def kept(sentence: Callable[[str], str]) -> Iterator[None]:
    """Give an interrupt within the context its message.

    Args:
        sentence: called with the message so far, which may be empty; returns what is kept.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(sentence(str(stop))) from None


def end_at_once(why: str) -> None:
    """From another thread: raise KeyboardInterrupt in the main one, even in work that would finish its step."""
    if signal.getsignal(signal.SIGINT) is _handle:
        _state.lost = why
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def _install() -> dict[signal.Signals, Any]:
    """Handle both signals; returns the handlers before."""
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heeded = {number: handler for number, handler in found.items() if handler is not signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, _handle)
    return heeded


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.lost is not None:
        if not _state.unbroken:
            _raise_lost()
        return
    if _state.received is None:
        _state.received, _state.at = number, time.monotonic()
        if _state.finishing or _state.unbroken:
            _state.pending = True
        else:
            raise Interrupted
    elif number == signal.SIGINT and not _state.serves and time.monotonic() - _state.at > SAME:
        if sys.stderr.isatty():
            os.write(2, SHOW_CURSOR)  # a progress bar hides it
        os._exit(128 + number)


def _raise_lost() -> None:
    why, _state.lost = _state.lost, None
    raise Interrupted(why)


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
    if _state.lost is not None and not _state.unbroken:
        _raise_lost()
    if _state.pending and not (_state.finishing or _state.unbroken):
        _state.pending = False
        raise Interrupted
