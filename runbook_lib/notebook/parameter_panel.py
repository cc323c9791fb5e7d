"""The widget of the parameter form: what it shows is one value, made in ``parameter_form``.

It is imported when the form is shown: a headless run never loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent
_SCRIPTS = ("opening.js", "parameter_form.js")


class ParameterPanel(anywidget.AnyWidget):
    """Shows ``view``; calls ``answered`` with what a person does in it."""

    _esm = "".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    _css = (_HERE / "parameter_form.css").read_text(encoding="utf-8")
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, view: Mapping[str, Any], answered: Callable[[Mapping[str, Any]], object]) -> None:
        super().__init__(view=dict(view))
        self.on_msg(lambda _, content, __: answered(content))
