"""How every command ends: each error as one message and one exit status."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from ..errors import InputError, RunbookError
from ..outcomes import ExitStatus
from ..plain_files import describe
from ..screen import complain

RUN_AGAIN = "Interrupted. Run it again: it reads the current state and completes what is missing."


def guarded(call: Callable[[], int]) -> int:
    """The exit status of a command, or of one tenant's part of it; an error does not affect other tenants."""
    try:
        return call()
    except (typer.Abort, typer.Exit, typer.BadParameter):
        raise
    except Exception as error:
        return report(error)


def with_status(command: Callable[..., int | None]) -> Callable[..., None]:
    """Let a command end with the status that it returns, or with that of its error."""

    @wraps(command)
    def run(**given: Any) -> None:
        raise typer.Exit(guarded(lambda: command(**given) or ExitStatus.FINE))

    return run


def report(error: Exception) -> int:
    """Report the error that ended a command, and return the command's exit status."""
    if isinstance(error, RunbookError):
        complain(str(error))
    elif isinstance(error, OSError):
        complain(describe(error))  # a folder that cannot be written, a failing disk
    else:
        # A bug in the runbook; what Python would print about it could contain a secret.
        complain("".join(traceback.format_exception(error)))
    return ExitStatus.WRONG_INPUT if isinstance(error, InputError) else ExitStatus.FAILED
