"""What a run works on: the first thing on a page."""

from __future__ import annotations

from dataclasses import dataclass

from ..guide import SECTIONS, WHOLE
from .display import SANS, Shown, badge, escaped, facts, visible

EXPLAINED = {
    "plan": "Reads and compares; changes nothing.",
    "apply": "Carries out the plan, then reads everything back.",
    "verify": "Reads back and fails on any difference; changes nothing.",
}


@dataclass(frozen=True, repr=False)
class Header(Shown):
    """What a run works on: the first thing on a page."""

    section: str
    target: str
    mode: str
    facts: tuple[tuple[str, str], ...]

    @property
    def _banner(self) -> str:
        if self.target == "live":
            return "LIVE: changes affect the telephone service of a real business"
        return "SANDBOX: both vendors are simulated on this machine"

    @property
    def _title(self) -> str:
        whole = self.section == WHOLE
        return "The whole tenant" if whole else f"{self.section} · {SECTIONS[self.section].title}"

    def html(self) -> str:
        colour = "#b3152b" if self.target == "live" else "#1f5f99"
        title = self._title
        mode_colour = "#9a6700" if self.mode == "apply" else "#57606a"
        return (
            f'<div style="{SANS};font-size:14px;line-height:1.6;border:2px solid {colour};border-radius:6px;'
            f'margin:8px 0;overflow:hidden">'
            f'<div style="background-color:{colour};color:#ffffff;font-weight:700;padding:4px 12px;'
            f'print-color-adjust:exact">{escaped(self._banner)}</div>'
            f'<div style="padding:6px 12px"><div><b>{escaped(title)}</b> &nbsp; '
            f"{badge('mode: ' + self.mode, mode_colour)} "
            f'<span style="opacity:0.8">{escaped(EXPLAINED[self.mode])}</span></div>'
            f"<div>{facts(self.facts)}</div></div></div>"
        )

    def text(self) -> str:
        lines = [
            f"=== {self._banner} ===",
            self._title,
            f"mode: {self.mode} ({EXPLAINED[self.mode]})",
            *(f"{label}: {visible(value)}" for label, value in self.facts),
        ]
        return "\n".join(lines)
