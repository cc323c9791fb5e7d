"""What differs at the vendors from what the parameters say, for all tenants of a site."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunbookError
from ..parameters import Site, Tenant, TrunkScope
from ..plan import Row
from ..sections import SECTION_CLASSES, Item, Section
from ..states import differs
from .authors import Author, Authors, subject_of
from .reading import WORKERS, EstateSession, SiteReading, TenantContext

Owner = Tenant | TrunkScope
#: This many tenants in a row that cannot be read, and the rest is not tried: a vendor is away.
PATIENCE = 2 * WORKERS


@dataclass(frozen=True)
class Difference:
    """A row of a tenant's plan that is not in place, with who changed it, where a vendor says so."""

    tenant: str
    section: str
    row: Row
    author: Author | None = None


@dataclass(frozen=True)
class Looked:
    """What was seen of one tenant, or of a shared trunk: all rows of its plan, or why there are none."""

    owner: Owner
    rows: tuple[tuple[str, Row], ...] = ()
    differences: tuple[Difference, ...] = ()
    error: RunbookError | None = None


def look_at_all(site: Site, owners: Sequence[Owner], root: Path) -> tuple[list[Looked], dict[str, int]]:
    """Read a site once and compare all these tenants with it; sends no write.

    Shared trunks that the tenants use are looked at first, and what differs there is the trunk's own, not
    that of each of its tenants. Returns what was seen in the order of the owners, after the shared trunks,
    and how many requests each vendor got.
    """
    with SiteReading(site, root) as reading:
        return look_at(reading, owners, Authors(reading, owners)), reading.requests


def look_at(
    reading: SiteReading,
    owners: Sequence[Owner],
    authors: Authors | None = None,
    seen: Callable[[Looked], object] = lambda looked: None,
) -> list[Looked]:
    """As ``look_at_all``, in a reading that has begun; without ``authors`` nobody is looked up.

    ``seen`` is called with each as soon as it was looked at.
    """
    shared = dict.fromkeys(owner.shared_trunk for owner in owners if owner.shared_trunk is not None)
    trunks = [TrunkScope(name, False, False) for name in shared]
    of_trunks = []
    for trunk in trunks:
        of_trunks.append(_look_at(reading, trunk, None, authors, ()))
        seen(of_trunks[-1])
    told = {
        looked.owner.shared_trunk: {_same(one.section, one.row) for one in looked.differences}
        for looked in of_trunks
    }
    failures: list[RunbookError] = []

    def look(owner: Owner, worker: EstateSession) -> Looked:
        looked = _look_at(reading, owner, worker, authors, told.get(owner.shared_trunk, set()))
        failures[:] = [*failures, looked.error] if looked.error else []
        seen(looked)
        return looked

    found = reading.of_each(owners, look, lambda: len(failures) < PATIENCE)
    last = failures[-1] if failures else None
    of_owners = [found.get(number) or Looked(owner, error=last) for number, owner in enumerate(owners)]
    return [*of_trunks, *of_owners]


def _look_at(
    reading: SiteReading,
    owner: Owner,
    worker: EstateSession | None,
    authors: Authors | None,
    told: Collection[tuple[object, ...]],
) -> Looked:
    context = TenantContext(reading, owner, worker)
    try:
        sections = [*_planned(context)]
        whole = [(section, item, row) for section, items in sections for item in items for row in item.rows]
        differences = tuple(
            Difference(
                owner.name,
                section.number,
                row,
                authors.author_of(context, row, subject_of(section, item, row)) if authors else None,
            )
            for section, item, row in whole
            if differs(row) and _same(section.number, row) not in told
        )
        return Looked(owner, tuple((section.number, row) for section, _, row in whole), differences)
    except RunbookError as error:
        return Looked(owner, error=error)
    finally:
        context.close()


def _planned(context: TenantContext) -> list[tuple[Section, list[Item]]]:
    """The items of each section's plan, as ``Runbook.plan`` makes them."""
    planned, ahead = [], frozenset[str]()
    for number in context.scope.sections:
        section = SECTION_CLASSES[number](context, ahead)
        ahead |= {number}
        section.read()
        planned.append((section, section.guarded_items()))
    return planned


def _same(section: str, row: Row) -> tuple[object, ...]:
    """What a row of a shared trunk and the same row in the plan of one of its tenants have in common."""
    return (section, row.key, row.desired, row.current)
