"""Whether somebody watches, and what is shown by a widget where one does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from IPython import get_ipython

from ..records.result import RUN_FOLDER
from .display import Shown


def is_watched() -> bool:
    """Whether a person can answer what the running cell shows.

    A front end such as JupyterLab says with each cell that it takes input; papermill says that it does not.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or RUN_FOLDER in os.environ:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


@dataclass(frozen=True, repr=False)
class WithWidget(Shown):
    """Something that is shown by a widget, and by its own forms where there is no kernel."""

    shown: Shown
    panel: Any

    def html(self) -> str:
        return self.shown.html()

    def text(self) -> str:
        return self.shown.text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return with_view(super()._repr_mimebundle_(), self.panel)


def with_view(bundle: dict[str, str], panel: Any) -> dict[str, Any]:
    """Return the forms of something, with the view of a widget added."""
    widget = panel._repr_mimebundle_() or {}
    data = widget[0] if isinstance(widget, tuple) else widget
    return {**bundle, **{name: view for name, view in data.items() if name.endswith("widget-view+json")}}
