"""The moment that the notebooks of a run share, kept by the runner until the run's first write."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..asking import ask_runner
from .moment import Moment

#: The name of the questions.
MOMENT = "moment"


def join_run(moment: Moment, run: str) -> None:
    """Go on with what the run has read so far, if there is a runner; what ends the moment ends the run's."""
    known = ask_runner(MOMENT, run=run)
    if known:
        moment.join(
            known["began"], {tuple(key): (status, _bytes(body)) for key, status, body in known["kept"]}
        )
    moment.before_it_ends = lambda: ask_runner(MOMENT, run=run, ended=True)


def hand_on(moment: Moment, run: str) -> None:
    """Let the run's next notebooks go on with this moment."""
    ask_runner(MOMENT, run=run, **_told(moment))


class SharedMoment:
    """The runner's side: what was read in the run whose turn it is."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._run = ""
        self._known: dict[str, Any] | None = None

    def start(self, run: str) -> None:
        """Know nothing, and listen to the notebooks of this run only."""
        with self._turn:
            self._run, self._known = run, {}

    def keep(self, moment: Moment) -> None:
        """Hand the run's first notebook what was read before it."""
        with self._turn:
            self._known = _told(moment)

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take what a notebook has read, or that it ends the moment for good; return what is known."""
        with self._turn:
            if question["run"] != self._run:
                return None
            if question.get("ended"):
                self._known = None
            elif "kept" in question and self._known is not None:
                self._known = {name: question[name] for name in ("began", "kept")}
            return self._known or None


def _told(moment: Moment) -> dict[str, Any]:
    began, answers = moment.answers()
    return {"began": began, "kept": [(key, status, _text(body)) for key, (status, body) in answers.items()]}


def _text(body: bytes) -> str:
    return body.decode("latin-1")  # any bytes, and back again


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
