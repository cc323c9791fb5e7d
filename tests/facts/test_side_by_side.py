"""Reads side by side: in order, four at most, with the error that reading one after the other would have."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from runbook_lib.facts.side_by_side import AT_ONCE, others_begin, side_by_side


def test_results_come_in_order_and_four_at_most_are_on_their_way() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def call(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        others_begin()
        time.sleep(0.02 * (10 - number))
        with lock:
            now -= 1
        return number

    assert side_by_side(*((lambda n=n: call(n)) for n in range(10))) == tuple(range(10))
    assert most == AT_ONCE == 4


def test_calls_that_wait_for_each_other_are_side_by_side() -> None:
    together = threading.Barrier(AT_ONCE, timeout=10)

    def call() -> int:
        others_begin()
        return together.wait()

    assert sorted(side_by_side(*[call] * AT_ONCE)) == [*range(AT_ONCE)]


def test_calls_that_do_not_wait_need_no_thread() -> None:
    assert side_by_side() == ()
    own = threading.get_ident()
    assert side_by_side(*[threading.get_ident] * 9) == (own,) * 9


def test_whoever_waits_inside_another_call_lets_the_calls_beside_both_begin() -> None:
    together = threading.Barrier(3, timeout=10)

    def call() -> int:
        others_begin()
        return together.wait()

    inner, outer = side_by_side(lambda: side_by_side(call, call), call)
    assert sorted((*inner, outer)) == [0, 1, 2]
    # What has ended is left alone: this thread is in the middle of no call any longer.
    threads = threading.active_count()
    others_begin()
    assert threading.active_count() == threads


def test_the_first_error_in_order_is_raised_whichever_came_first() -> None:
    def fail(name: str, after_s: float) -> Callable[[], None]:
        def call() -> None:
            time.sleep(after_s)
            raise ValueError(name)

        return call

    with pytest.raises(ValueError, match="second"):
        side_by_side(lambda: None, fail("second", 0.2), fail("third", 0))


def test_what_has_not_begun_when_one_failed_is_left_out() -> None:
    called = []

    def fail() -> None:
        others_begin()
        raise ValueError

    with pytest.raises(ValueError):
        side_by_side(*[fail] * AT_ONCE, lambda: called.append(1))
    assert not called


INTERRUPTED = """
import signal, sys, time
from runbook_lib.facts.side_by_side import others_begin, side_by_side
# A shell starts what it runs in the background with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
def read():
    others_begin()
    print("on its way", flush=True)
    time.sleep(60)
try:
    side_by_side(read, read)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_waits_for_no_read() -> None:
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.3)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        assert time.monotonic() - began < 20
