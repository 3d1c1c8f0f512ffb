"""Signals: when they are raised, what waits for them, and that a second Ctrl-C ends the process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from faal.engine import interrupts
from faal.engine.interrupts import Interrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def send(number: signal.Signals) -> None:
    """To this process; its handler has run afterwards."""
    os.kill(os.getpid(), number)
    time.sleep(0)


@pytest.fixture
def taken() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with interrupts.handled():
        yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


@pytest.mark.usefixtures("taken")
class TestTaken:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_the_first_is_raised_at_once(self, number: signal.Signals, status: int) -> None:
        assert not interrupts.requested()
        with pytest.raises(Interrupted):
            send(number)
        assert interrupts.requested()
        assert interrupts.status() == status

    @pytest.mark.parametrize("context", [interrupts.finishing, interrupts.uninterrupted])
    def test_work_that_finishes_is_not_broken(self, context: type) -> None:
        done = []

        def work() -> None:
            with context():
                with context():
                    send(signal.SIGTERM)
                    done.append("the step")
                done.append("the save")

        with pytest.raises(Interrupted):
            work()
        assert done == ["the step", "the save"]

    def test_it_is_raised_once(self) -> None:
        """Files that are written while it is raised are written."""

        @interrupts.finishing()
        def work() -> None:
            send(signal.SIGINT)
            raise Interrupted("saved")

        with pytest.raises(Interrupted, match="saved"):
            work()
        written = []
        with interrupts.uninterrupted():
            written.append("a file")
        assert written

    @pytest.mark.parametrize("again", SIGNALS)
    def test_a_launcher_that_repeats_it_at_once_ends_nothing(self, again: signal.Signals) -> None:
        @interrupts.finishing()
        def work() -> None:
            send(signal.SIGTERM)
            send(again)

        with pytest.raises(Interrupted):
            work()
        assert interrupts.status() == 143

    def test_the_message_says_what_is_kept(self) -> None:
        @interrupts.reporting(lambda message: f"2 of 3 parts, then {message}")
        @interrupts.reporting(lambda message: message or "half of one")
        def work() -> None:
            send(signal.SIGINT)

        with pytest.raises(Interrupted, match=r"^2 of 3 parts, then half of one$"):
            work()

    def test_other_errors_pass(self) -> None:
        with pytest.raises(ValueError, match="other"), interrupts.reporting(lambda _: "kept"), interrupts.finishing():
            raise ValueError("other")

    def test_work_that_another_process_took_over_does_not_finish_its_step(self) -> None:
        @interrupts.finishing()
        def work() -> None:
            threading.Timer(0.05, interrupts.end_at_once, ["taken over"]).start()
            time.sleep(30)

        with pytest.raises(Interrupted, match="taken over"):
            work()
        assert not interrupts.requested()  # it is no signal of the user's

    def test_but_it_finishes_its_file(self) -> None:
        done = []

        @interrupts.finishing()
        def work() -> None:
            with interrupts.uninterrupted():
                interrupts.end_at_once("taken over")
                done.append("the file")
            done.append("another step")

        with pytest.raises(Interrupted, match="taken over"):
            work()
        assert done == ["the file"]


@pytest.mark.parametrize("context", [interrupts.finishing, interrupts.uninterrupted, nullcontext])
def test_elsewhere_ctrl_c_is_pythons(context: type) -> None:
    with pytest.raises(KeyboardInterrupt) as stop, context():
        send(signal.SIGINT)
    assert not isinstance(stop.value, Interrupted)
    assert not interrupts.requested()


def test_a_background_job_goes_on_ignoring_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.handled():
            send(signal.SIGINT)
            assert not interrupts.requested()
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_taken() -> None:
    found = []

    def work() -> None:
        with interrupts.handled(), interrupts.finishing(), interrupts.uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


STUBBORN = """
import sys, time
from faal.engine import interrupts
with interrupts.handled(), interrupts.finishing():
    print("ready", flush=True)
    while not interrupts.requested():
        time.sleep(0.01)
    print("asked", flush=True)
    time.sleep(60)
    print("finished", flush=True)
"""

WORKER = """
import os, signal, time
from faal.engine import interrupts
interrupts.serve()
print("ready", flush=True)
while not interrupts.requested():
    time.sleep(0.01)  # between two jobs
time.sleep(0.5)
os.kill(os.getpid(), signal.SIGINT)  # a second one
try:
    with interrupts.job():
        print("begun")
except interrupts.Interrupted:
    print("not begun", interrupts.status())
"""


def started(script: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_ctrl_c_ends_the_process() -> None:
    with started(STUBBORN) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)  # changes nothing: a launcher may send both
        time.sleep(2 * interrupts.SAME_SIGNAL)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", None)
    assert process.returncode == 130


def test_a_worker_takes_signals_in_its_jobs_alone() -> None:
    with started(WORKER) as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "not begun 143\n"
    assert process.returncode == 0
