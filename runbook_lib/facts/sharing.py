"""The moment that the notebooks of a run share, kept by the runner until the run's first write."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any

import httpx

from ..asking import ask_runner
from ..errors import RunbookError
from ..records.clocks import VendorClocks, steady
from .moment import Moment

#: The name of the questions.
MOMENT = "moment"


def join_run(moment: Moment, clocks: VendorClocks, run: str) -> None:
    """Continue with what the run has read so far, if there is a runner; ending the moment ends the run's.

    What the answers showed about the vendors' clocks is passed on as well.
    """
    known = ask_runner(MOMENT, run=run)
    if known:
        answers: dict[Hashable, httpx.Response] = {
            tuple(key): _answer(*parts) for key, *parts in known["answers"]
        }
        moment.join(steady() - known["began"], answers)
        clocks.join(known["clocks"])
    moment.before_it_ends = lambda: ask_runner(MOMENT, run=run, ended=True)


def hand_on(moment: Moment, clocks: VendorClocks, run: str) -> None:
    """Let the run's next notebooks continue with this moment; without it they only read more."""
    with suppress(RunbookError):
        ask_runner(MOMENT, run=run, **_told(moment, clocks))


class SharedMoment:
    """The runner's side: what was read in the run whose turn it is."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._run = ""
        self._known: dict[str, Any] | None = None

    def start(self, run: str) -> None:
        """Start empty, and accept only this run's notebooks."""
        with self._turn:
            self._run, self._known = run, {}

    def keep(self, moment: Moment, clocks: VendorClocks) -> None:
        """Pass on to the run's first notebook what was read before it."""
        with self._turn:
            self._known = _told(moment, clocks)

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """Accept what a notebook has read, or that it ends the moment for good; return what is known."""
        with self._turn:
            if question["run"] != self._run:
                return None
            if "ended" in question:
                self._known = None
            elif "answers" in question and self._known is not None:
                self._known = {name: question[name] for name in ("began", "answers", "clocks")}
            return self._known or None


def _told(moment: Moment, clocks: VendorClocks) -> dict[str, Any]:
    """A moment as plain data; its beginning by a clock that the processes of a machine share."""
    age_s, answers = moment.answers()
    # Bytes as text, and back again: whatever they are.
    told = [
        (key, one.status_code, one.headers.multi_items(), one.content.decode("latin-1"))
        for key, one in answers.items()
    ]
    return {"began": steady() - age_s, "answers": told, "clocks": clocks.told()}


def _answer(status: int, headers: list[list[str]], body: str) -> httpx.Response:
    return httpx.Response(
        status, headers=[(name, value) for name, value in headers], content=body.encode("latin-1")
    )
