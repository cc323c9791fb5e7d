"""How every command ends: each error as one message and one exit status."""

from __future__ import annotations

import traceback
from collections.abc import Callable

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
    except InputError as error:
        complain(str(error))
        return ExitStatus.WRONG_INPUT
    except RunbookError as error:
        complain(str(error))
        return ExitStatus.FAILED
    except (typer.Abort, typer.Exit, typer.BadParameter):
        raise
    except OSError as error:  # not reported elsewhere: a folder that cannot be written, a failing disk
        complain(describe(error))
        return ExitStatus.FAILED
    except Exception:
        # A bug in the runbook; what Python would print about it could contain a secret.
        complain(traceback.format_exc())
        return ExitStatus.FAILED
