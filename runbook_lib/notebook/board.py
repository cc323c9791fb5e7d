"""The widget of the home page: what it shows is one value, made in ``home``.

It is imported when the first one is shown: a headless run never loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent
_SCRIPTS = ("opening.js", "board.js")


class Board(anywidget.AnyWidget):
    """Shows ``view``; calls ``answered`` with what a person does in it.

    ``beat`` changes as long as the kernel lives: without it the page says that the state is unknown.
    """

    _esm = "".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    _css = (_HERE / "board.css").read_text(encoding="utf-8")
    view = traitlets.Dict().tag(sync=True)
    beat = traitlets.Int(0).tag(sync=True)

    def __init__(self, view: Mapping[str, Any], answered: Callable[[Mapping[str, Any]], object]) -> None:
        super().__init__(view=dict(view))
        self.on_msg(lambda _, content, __: answered(content))

    def answer(self, said: str, path: str | None = None, *, run: bool = False, name: str = "") -> None:
        """Say something, and open a notebook (by the server's path); ``run`` it if it is not open.

        The tabs of all notebooks in its folder begin with ``name``.
        """
        self.send({"said": said, "open": path, "run": run, "name": name})
