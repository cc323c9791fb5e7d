"""How an error of the runbook appears in a notebook: what an operator has to know, without a stack trace.

IPython asks an exception for ``_render_traceback_``; its answer is what JupyterLab, papermill, the
saved notebook and its HTML show, and the cell still fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import InputError, RunbookError, StalePageError, place
from .display import WIDTH, Box, heading, utc, visible, wrapped

# Bold only: JupyterLab shows errors on a red background, on which red letters vanish.
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"

#: What an operator reads in the place of a class's name, by that.
HEADINGS = {
    "InputError": "The input is wrong",
    "SecretError": "A secret cannot be used",
    "VendorError": "A vendor refused",
    "AccountError": "The credentials are those of another Twilio account",
    "SignInError": "The PBX refused the sign-in",
    "UnreachableError": "A vendor could not be read",
    "OutcomeUnknownError": "A write was sent, but it is unknown whether it was carried out",
    "ConflictError": "The plan cannot be applied",
    "StalePlanError": "The plan is no longer the one that was shown",
    "ApprovalError": "The approval is missing or invalid",
    "VerificationError": "Not as expected",
    "RecordError": "The record cannot be kept",
    "LockedError": "Another run is working on this",
    "SandboxError": "The sandbox does not answer",
    "interrupted": "Interrupted",
    "KeyboardInterrupt": "Interrupted",
}
OTHERWISE = "The section failed"


@contextmanager
def told_plainly() -> Iterator[None]:
    """Pass on errors of the runbook that are raised in the ``with`` block, without their stack trace."""
    try:
        yield
    except RunbookError as error:
        lines = rendered(error, utc())
        error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
        raise


def rendered(error: RunbookError, at: str = "") -> list[str]:
    """Return the error as lines for a terminal or an error output; ``at`` is when it happened."""
    if isinstance(error, StalePageError):
        return [f"{_BOLD}{line}{_PLAIN}" for line in wrapped(visible(f"✗ {error.what}"), WIDTH)]
    title = heading("", _title(type(error).__name__, error.step), at)
    lines = [f"{_BOLD}✗ {title}{_PLAIN}"]
    problems = error.problems if isinstance(error, InputError) else []
    lines += _part("What happened", error.what)
    if len(problems) > 1:
        for problem in problems:
            lines += _item(problem)
    if error.meaning:
        lines += _part("What it means", error.meaning)
    if error.next_step:
        lines += _part("What to do next", error.next_step)
    return lines


def boxed(error: Mapping[str, Any]) -> Box:
    """Return an error as a section's result keeps it, shown in the same parts."""
    parts = (
        ("What happened", error["what"]),
        ("What it means", error["meaning"]),
        ("What to do next", error["next_step"]),
    )
    return Box(
        "stop",
        _title(error["kind"], error["step"]),
        tuple(f"{label}: {text}" for label, text in parts if text),
    )


def _title(kind: str, step: str | None) -> str:
    return HEADINGS.get(kind, OTHERWISE) + (f" at {place(step)}" if step else "")


def _part(label: str, text: str) -> list[str]:
    return [f"  {_BOLD}{label}{_PLAIN}", *wrapped(visible(text), WIDTH - 4, indent="    ")]


def _item(text: str) -> list[str]:
    first, *rest = wrapped(visible(text), WIDTH - 6)
    return [f"    - {first}", *(f"      {line}" for line in rest)]
