"""Which parameters were passed to this notebook, seen from inside its kernel.

Papermill's own engine, nbconvert and nbclient do not know the runbook's rules, so the opening cell checks
the cells that ran before it: the notebook's parameter cell, and the one that the caller inserted
after it. In interactive use nothing is passed: there the parameter cell itself is edited.
"""

from __future__ import annotations

from collections.abc import Iterable

from IPython import get_ipython

from ..errors import InputError
from ..passed import NEXT_STEP, assigned, not_passed, unknown
from .widgets import is_watched

PARAMETERS = ("site", "tenant", "mode", "plan_file", "approved_plan", "approved_by")
#: The first line of the cell that papermill puts in; the notebooks' own only begins with these words.
PAPERMILLS = "# Parameters"


def check_passed(mode: object, options: Iterable[str], of_all: Iterable[str] = PARAMETERS) -> None:
    """Refuse names that the notebook does not have, and unattended ``apply`` without site and tenant.

    ``options`` are the names of the parameters that the notebook has beside ``of_all``, those of every
    section. Raises ``InputError`` with all problems. A program that calls the library names both by itself.
    """
    shell = get_ipython()
    if getattr(shell, "kernel", None) is None or is_watched():
        return
    history = shell.history_manager
    declared = (*of_all, *options)
    names, lost = passed_names(history.input_hist_raw[:-1] if history else (), declared)
    problems = [*unknown(names, declared), *not_passed(names, mode)]
    problems += [f"{name}: was passed, but the notebook's own parameter cell overwrote it" for name in lost]
    if problems:
        raise InputError(problems, next_step=NEXT_STEP)


def passed_names(cells: Iterable[str], declared: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the names that were passed, and those of them that got lost, from the cells that ran.

    The first cell that assigns parameters is the notebook's own; any later one that does, or that
    begins with papermill's line, was put in. One that was put in before the notebook's own (papermill does
    so where the cell has lost its tag) is overwritten by it.
    """
    known, found = set(declared), dict[str, None]()
    own_seen, lost = False, list[str]()
    for source in cells:
        names = assigned(source)
        put_in = source.strip().partition("\n")[0].rstrip() == PAPERMILLS
        if put_in or (own_seen and known.intersection(names)):
            found.update(dict.fromkeys(names))
        elif known.intersection(names):
            own_seen, lost = True, [name for name in found if name in names]
    return [name for name in found if name not in lost], lost
