"""The widgets of the pages: what each shows is one value, made by the module that shows it.

ipywidgets has no live region and moves the focus away with a button that is disabled, so these are our own,
with their own scripts. They are imported when the first one is shown: a headless run never loads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets


def _joined(*names: str) -> str:
    """The scripts or the style of a widget: files beside this one."""
    return "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


class _Answered(anywidget.AnyWidget):
    """Shows ``view``; calls ``answered`` with what a person does in it."""

    view = traitlets.Dict().tag(sync=True)

    def __init__(self, view: Mapping[str, Any], answered: Callable[[Mapping[str, Any]], object]) -> None:
        super().__init__(view=dict(view))
        self.on_msg(lambda _, content, __: answered(content))


class ParameterPanel(_Answered):
    """The parameter form."""

    _esm = _joined("common.js", "opening.js", "parameter_form.js")
    _css = _joined("parameter_form.css")


class Panel(_Answered):
    """The apply form, and the state of a run.

    ``beat`` changes as long as the kernel lives: without it the page says that the state is unknown.
    """

    _esm = _joined("common.js", "panel.js")
    _css = _joined("panel.css")
    beat = traitlets.Int(0).tag(sync=True)


class Board(_Answered):
    """The table of the home page; ``beat`` as of ``Panel``."""

    _esm = _joined("common.js", "opening.js", "board.js")
    _css = _joined("board.css")
    beat = traitlets.Int(0).tag(sync=True)

    def answer(self, said: str, path: str | None = None, *, run: bool = False, name: str = "") -> None:
        """Say something, and open a notebook (by the server's path); ``run`` it if it is not open.

        The tabs of all notebooks in its folder begin with ``name``.
        """
        self.send({"said": said, "open": path, "run": run, "name": name})
