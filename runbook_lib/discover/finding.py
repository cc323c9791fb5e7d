"""Discovering a site: survey, drafts, and a plan of each draft in the same reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ..parameters import SharedTrunk, Site, Tenant
from ..plan import value_text
from ..watch.differences import look_at
from ..watch.reading import SiteReading
from .drafts import Data, Drafts, Misfit, draft
from .survey import survey

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Discovery:
    """What was discovered: the drafts, the tenants of which everything is in place, and the requests."""

    drafts: Drafts
    in_place: tuple[str, ...]
    requests: dict[str, int]


def discover_site(site: Site, root: Path) -> Discovery:
    """Read a site and draft its parameters; sends no write, and writes no file.

    What is left of the drafts are valid parameters. Each was planned: what is not in place, apart from the
    passwords, is among the oddities.
    """
    with SiteReading(site, root) as reading:
        drafts = draft(site, survey(reading))
        shared = {
            name: trunk
            for name, data in list(drafts.shared.items())
            if (trunk := _valid(SharedTrunk, data, name, drafts, drafts.shared))
        }
        reading.site = site.model_copy(update={"shared_trunks": {**site.shared_trunks, **shared}})
        tenants = [
            tenant
            for name, data in list(drafts.tenants.items())
            if data.get("shared_trunk") in (None, *shared)
            and (tenant := _valid(Tenant, data, name, drafts, drafts.tenants))
        ]
        names = {tenant.name for tenant in tenants}
        drafts.tenants = {name: data for name, data in drafts.tenants.items() if name in names}
        looked = look_at(reading, tenants)
        requests = reading.requests
    for one in looked:
        if one.error is not None:
            drafts.add(Misfit.UNREADABLE, one.owner.name, one.error.what)
        for difference in one.differences:
            row = difference.row
            what = (
                f"{row.step} {row.setting}: {value_text(row.current)}; the guide has "
                f"{value_text(row.desired)}"
            )
            drafts.add(Misfit.STEP, one.owner.name, what)
    in_place = tuple(one.owner.name for one in looked if not one.differences and one.error is None)
    return Discovery(drafts, in_place, requests)


def _valid(
    model: type[Model], data: Data, name: str, drafts: Drafts, drafted: dict[str, Data]
) -> Model | None:
    """The parameters as a model; what are none is taken out of the drafts, and named."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        drafts.add(Misfit.NAME, name, f"cannot be written as parameters: {where}: {first['msg']}")
        del drafted[name]
        return None
