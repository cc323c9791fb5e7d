"""What the apply form offers: a plan to confirm, or why there is nothing to confirm."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from ..guide import SECTIONS, WHOLE
from ..plan import Effect, Slice
from ..words import counted
from .child import Order
from .display import Box


@dataclass(frozen=True)
class Offer:
    """What the form offers to apply, or why it offers nothing.

    Parameters
    ----------
    box
        What would be done, or why there is nothing to confirm.
    order
        What would be started; ``None`` where there is nothing to confirm.
    permission
        What has to be ticked: what is interrupted; empty where nothing is.
    ticket
        What the site asks of a ticket, as a regular expression; empty where it asks for none.
    number
        Which offer it is: what is typed for one confirms no other.
    """

    box: Box
    order: Order | None = None
    permission: str = ""
    ticket: str = ""
    number: int = field(default_factory=itertools.count(1).__next__)


def not_planned() -> Offer:
    """Return the offer before there is a plan."""
    return Offer(Box("info", "Nothing to apply yet.", ("Run the cell with the plan first.",)))


@dataclass(frozen=True)
class Approver:
    """Where the site asks for an approval: how to get one, or who has given it.

    ``by`` says who approved; ``plan_file`` is the plan's file that another person is to approve; ``trouble``
    is what is wrong with an existing approval.
    """

    plan_file: str = ""
    by: str = ""
    trouble: str = ""


def offer(
    part: Slice, order: Order | None, digest: str, approver: Approver | None = None, ticket: str = ""
) -> Offer:
    """Return the offer for a section's plan.

    Parameters
    ----------
    part
        The plan that would be applied.
    order
        What would be started; ``None`` where the site asks for an approval that is not given.
    digest
        The digest of the plan that would be applied.
    approver
        Of a site that asks for an approval.
    ticket
        What the site asks of a ticket.
    """
    lines: tuple[str, ...]
    whole = part.section == WHOLE
    what = "the whole tenant" if whole else f"section {part.section}, {SECTIONS[part.section].title}"
    if part.stopping:
        rows = counted(len(part.stopping), "row is", "rows are")
        lines = ("Resolve each of them first: its note in the plan says how. Then run the plan again.",)
        return Offer(Box("stop", f"Apply would stop: {rows} in conflict or blocked.", lines))
    if not part.changing:
        if not part.rows:
            return Offer(Box("info", "Nothing to apply: the parameters ask for nothing here."))
        return Offer(Box("info", "Nothing to apply: everything is in place."))
    rows = counted(len(part.changing), "row changes", "rows change")
    if order is None:
        assert approver is not None, "an order is missing for want of an approval only"
        lines = (
            f"Effect on calls: {interruptions(part) or 'none'}",
            f"Plan: {digest}, in {approver.plan_file}",
            f"Another person can approve it with: runbook approve {approver.plan_file} --ticket TICKET",
            *(
                [f"There is an approval, but it does not count: {approver.trouble}"]
                if approver.trouble
                else []
            ),
            "This page notices when the approval arrives.",
        )
        return Offer(Box("stop", f"Approval is missing: {rows} in {what}.", lines))
    lines = (
        f"Changes: {_changes(part)}",
        f"Effect on calls: {interruptions(part) or 'none'}",
        f"Plan: {digest}",
        *([f"Approved by {approver.by}"] if approver is not None and approver.by else []),
        f"The button runs: {order.command}",
    )
    interrupted = interruptions(part)
    permission = f"I accept that calls are interrupted: {interrupted}" if interrupted else ""
    return Offer(Box("caution", f"Apply: {rows} in {what}.", lines), order, permission, ticket)


def interruptions(part: Slice) -> str:
    """Return what carrying out a plan interrupts, such as ``2 both ways, 1 inbound``; empty for nothing."""
    effects = Counter(row.effect for row in part.changing)
    counted = [(effects[effect], str(effect).removeprefix("interrupts ")) for effect in Effect]
    return ", ".join(f"{count} {words}" for count, words in counted if count and words != str(Effect.NONE))


def _changes(part: Slice) -> str:
    counts = Counter(str(row.action) for row in part.changing)
    return ", ".join(f"{count} {action}" for action, count in counts.items())
