"""A moment: what is read once, what is remembered of it, and what ends it."""

from __future__ import annotations

import gzip
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from runbook_lib.facts.moment import Moment


class Vendor:
    """Counts how often it was asked, and answers so."""

    def __init__(self, *statuses: int) -> None:
        self.asked = 0
        self._statuses = statuses

    def __call__(self) -> httpx.Response:
        self.asked += 1
        status = self._statuses[min(self.asked, len(self._statuses)) - 1]
        return answer(status, {"asked": self.asked})


def answer(status: int, body: Any, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json=body, headers=headers or None, request=httpx.Request("GET", "https://vendor.example/")
    )


@pytest.mark.parametrize(
    ("status", "asked"), [(200, 1), (204, 1), (403, 1), (404, 1), (401, 2), (400, 2), (429, 2), (503, 2)]
)
def test_only_what_says_something_of_the_state_is_remembered(status: int, asked: int) -> None:
    moment, vendor = Moment(), Vendor(status)
    answers = [moment.once("trunks", vendor) for _ in range(2)]
    assert vendor.asked == asked
    assert [one.status_code for one in answers] == [status, status]
    assert [one.json()["asked"] for one in answers] == [1, asked]


def test_an_answer_that_failed_is_asked_for_again_and_then_remembered() -> None:
    moment, vendor = Moment(), Vendor(503, 200)
    assert [moment.once("trunks", vendor).status_code for _ in range(3)] == [503, 200, 200]
    assert vendor.asked == 2


def test_each_read_has_its_own_answer() -> None:
    moment, vendor = Moment(), Vendor(200)
    assert [moment.once(key, vendor).json()["asked"] for key in ("a", "b", "a")] == [1, 2, 1]


def test_an_answer_can_be_used_by_everybody_who_gets_it() -> None:
    moment = Moment()
    packed = httpx.Response(
        200,
        content=gzip.compress(b'{"trunks": []}'),
        headers=[
            ("Content-Encoding", "gzip"),
            ("Content-Type", "application/json"),
            ("Twilio-Request-Id", "RQ1"),
        ],
        request=httpx.Request("GET", "https://vendor.example/"),
    )
    first, second = (moment.once("trunks", lambda: packed) for _ in range(2))
    first.close()
    assert first is not second
    assert second.json() == {"trunks": []}
    assert second.headers["Twilio-Request-Id"] == "RQ1"


def test_it_begins_with_its_first_read_and_ends_when_it_is_said() -> None:
    moment, vendor = Moment(), Vendor(200)
    assert moment.began is None
    moment.once("trunks", vendor)
    assert moment.began is not None
    assert abs(datetime.now(UTC) - moment.began) < timedelta(seconds=30)
    moment.begin()
    assert moment.began is None
    moment.once("trunks", vendor)
    assert vendor.asked == 2


def test_no_answer_gets_older_than_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    time = 1000.0
    monkeypatch.setattr("runbook_lib.facts.moment.steady", lambda: time)
    moment, vendor = Moment(), Vendor(200)
    moment.once("trunks", vendor)
    time += 59.9
    moment.once("trunks", vendor)
    moment.once("lists", vendor)
    assert vendor.asked == 2
    time += 0.1
    moment.once("trunks", vendor)
    moment.once("lists", vendor)
    assert vendor.asked == 4
    time += 60
    assert moment.began is None


def test_threads_that_ask_at_once_send_one_request() -> None:
    moment, vendor, gate = Moment(), Vendor(200), threading.Event()
    answers: list[int] = []

    def ask() -> httpx.Response:
        gate.wait(10)
        return vendor()

    threads = [
        threading.Thread(target=lambda: answers.append(moment.once("trunks", ask).json()["asked"]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(10)
    assert answers == [1] * 8
    assert vendor.asked == 1


def test_what_was_on_its_way_when_a_moment_ended_serves_nobody_else() -> None:
    """A write left in between: the answer may be of before it."""
    moment, vendor = Moment(), Vendor(200)
    sent, gate = threading.Event(), threading.Event()

    def slow() -> httpx.Response:
        sent.set()
        gate.wait(10)
        return answer(200, {"asked": "before the write"})

    early: list[Any] = []
    thread = threading.Thread(target=lambda: early.append(moment.once("trunks", slow).json()["asked"]))
    thread.start()
    sent.wait(10)
    moment.begin()
    assert moment.once("trunks", vendor).json()["asked"] == 1  # does not wait for it either
    gate.set()
    thread.join(10)
    assert early == ["before the write"]
    assert moment.once("trunks", vendor).json()["asked"] == 1


def test_an_error_is_everybodys_own() -> None:
    moment, vendor = Moment(), Vendor(200)

    def fails() -> httpx.Response:
        raise httpx.ConnectError("no way there")

    with pytest.raises(httpx.ConnectError):
        moment.once("trunks", fails)
    assert moment.once("trunks", vendor).json()["asked"] == 1
