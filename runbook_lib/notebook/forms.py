"""The mode switch: the one control of a section's notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import RunbookError
from .display import Box, Shown

if TYPE_CHECKING:
    import ipywidgets

MODES = ("plan", "apply", "verify")
EXPLAINED = {
    "plan": "Reads and compares; changes nothing.",
    "apply": "Carries out the plan, then reads everything back.",
    "verify": "Reads back and stops on any difference; changes nothing.",
}


class ModeSwitch(Shown):
    """Shows a section's mode and lets a person change it for this notebook.

    The switch itself never writes: ``apply`` asks for the tenant's name first, and then only the
    cell that applies writes, when it is run. Without a live kernel, and in a record, it is text.

    Parameters
    ----------
    mode
        The mode that the notebook was opened in.
    tenant
        The name to type before ``apply``.
    change
        Called with the new mode; raises ``RunbookError`` when it is refused.
    """

    def __init__(self, mode: str, tenant: str, change: Callable[[str], None]) -> None:
        self.mode = mode
        self.tenant = tenant
        self._change = change

    def html(self) -> str:
        return self.without_control().html()

    def text(self) -> str:
        return self.without_control().text()

    def without_control(self) -> Box:
        """Return the mode in words: what a record shows, and a run that nobody watches."""
        how = "To change it: set mode in the parameter cell and run all cells, or use the runbook command."
        return Box("info", f"Mode: {self.mode}", (EXPLAINED[self.mode], how))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        widget = self.widget._repr_mimebundle_() or {}
        view = {name: content for name, content in widget.items() if name.endswith("widget-view+json")}
        return {**super()._repr_mimebundle_(), **view}

    @property
    def widget(self) -> ipywidgets.Widget:
        """The control; made when it is shown."""
        import ipywidgets as widgets  # a headless run shows text and never loads them

        choice = widgets.ToggleButtons(options=list(MODES), value=self.mode, description="Mode:")
        said = widgets.HTML()
        name = widgets.Text(placeholder=self.tenant, description="Tenant:", continuous_update=True)
        confirm = widgets.Button(description="Switch to apply", button_style="warning", disabled=True)
        asked = widgets.HBox([name, confirm])
        asked.layout.display = "none"

        def tell(box: Box) -> None:
            said.value = box.html()

        def switch(mode: str) -> None:
            try:
                self._change(mode)
            except RunbookError as error:
                lines = tuple(line for line in (error.meaning, error.next_step) if line)
                tell(Box("stop", f"The mode stays {self.mode}: {error.what}", lines))
                choice.value = self.mode
                return
            self.mode = mode
            tell(
                Box("caution" if mode == "apply" else "info", f"Mode: {mode}", (EXPLAINED[mode], _next(mode)))
            )

        def chosen(event: dict[str, Any]) -> None:
            wanted = event["new"]
            asked.layout.display = "flex" if wanted == "apply" != self.mode else "none"
            name.value = ""
            if wanted == self.mode:
                return
            if wanted != "apply":
                switch(wanted)
                return
            tell(
                Box(
                    "caution",
                    "apply writes to Twilio and the PBX. Nothing has changed yet.",
                    (f"To go on, type the name of the tenant, {self.tenant}, and confirm.",),
                )
            )

        def typed(event: dict[str, Any]) -> None:
            confirm.disabled = event["new"].strip() != self.tenant

        def confirmed(_: object) -> None:
            asked.layout.display = "none"
            switch("apply")

        choice.observe(chosen, "value")
        name.observe(typed, "value")
        confirm.on_click(confirmed)
        tell(Box("info", f"Mode: {self.mode}", (EXPLAINED[self.mode],)))
        return widgets.VBox([choice, said, asked])


def _next(mode: str) -> str:
    if mode == "apply":
        return "Now run the cells below one by one, and read the plan before the cell that applies it."
    return "Now run the cells below again."
