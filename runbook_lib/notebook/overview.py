"""One reading of a site for the home page: every tenant by section, each shown as soon as it was read.

It is read with an estate, so it sends no write, opens no record and waits for no run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import InputError, RunbookError
from ..parameters import Site, Tenant, TrunkScope, load, load_all, load_site
from ..parameters.loading import SHARED
from ..parameters.tenants import tenant_files
from ..scopes import scope_of
from ..states import OwnerStates, SectionState, State, invalid_owner, section_state
from ..watch.differences import Looked, look_at
from ..watch.reading import SiteReading


@dataclass
class Overview:
    """What is known of a site's tenants so far; ``began`` is the time of the reading.

    ``owners`` has a row for each shared trunk and tenant that was read, by name; ``sources`` the file of each
    (``trunk:NAME`` for a shared trunk), also of those that are still to be read, in the order of the rows.
    ``problems`` are those of the parameter files together; ``error`` is why nothing could be read.
    """

    site_file: Path
    site: Site | None = None
    began: datetime | None = None
    owners: dict[str, OwnerStates] = field(default_factory=dict)
    sources: dict[str, Path | str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    error: RunbookError | None = None
    is_complete: bool = False

    @property
    def name(self) -> str:
        """The site's name, or its file's where that cannot be read."""
        return self.site.name if self.site is not None else self.site_file.name

    @property
    def rows(self) -> list[OwnerStates]:
        """The rows that were read: shared trunks first, then the tenants in the order of their files."""
        return [self.owners[name] for name in self.sources if name in self.owners]


class OverviewReader:
    """Reads a site; another thread can look at ``overview`` meanwhile.

    Parameters
    ----------
    site_file, root
        The site's file, and the workspace's folder.
    seen
        Called after each change of the overview.
    """

    def __init__(self, site_file: Path, root: Path, seen: Callable[[], object] = lambda: None) -> None:
        self.overview = Overview(site_file)
        #: The tenants whose files are right.
        self.owners: Sequence[Tenant | TrunkScope] = ()
        self._root = root
        self._changed = seen
        self._lock = threading.Lock()

    def read(self) -> Overview:
        """Read everything; what is wrong is part of the result."""
        overview = self.overview
        try:
            overview.site = load_site(overview.site_file, self._root)
            self.owners = owners = self._load(overview.site)
            overview.began = datetime.now(UTC)
            self._changed()
            if owners:
                with SiteReading(overview.site, self._root) as reading:
                    look_at(reading, owners, seen=self._seen)
        except RunbookError as error:
            overview.error = error
        overview.is_complete = True
        self._changed()
        return overview

    def _load(self, site: Site) -> list[Tenant | TrunkScope]:
        """Load the tenants; one whose file is wrong gets a row that says so, and the others are read."""
        overview = self.overview
        files = tenant_files(overview.site_file, self._root)
        owners: list[Tenant | TrunkScope] = []
        try:
            owners = [owner for _, owner in load_all(overview.site_file, files, self._root, secrets=False)]
            sources = dict(zip((owner.name for owner in owners), files, strict=True))
        except InputError as error:
            sources = {}
            for file in files:
                try:
                    _, owner = load(overview.site_file, file, self._root, secrets=False)
                    if owner.name in sources:
                        raise InputError([f"there is another tenant with the name {owner.name}"])
                except InputError as wrong:
                    name = file.name
                    overview.owners[name] = invalid_owner(name, str(wrong))
                else:
                    name = owner.name
                    owners.append(owner)
                sources[name] = file
            if not overview.owners:
                overview.problems = error.problems  # of several files together
        trunks = dict.fromkeys(owner.shared_trunk for owner in owners if owner.shared_trunk is not None)
        shared = {TrunkScope(name, False, False).name: f"{SHARED}{name}" for name in trunks}
        overview.sources = {**shared, **sources}
        return owners

    def _seen(self, looked: Looked) -> None:
        with self._lock:
            self.overview.owners[looked.owner.name] = states_of(looked)
        self._changed()


def states_of(looked: Looked) -> OwnerStates:
    """Return the states of what was read of a tenant or a shared trunk."""
    owner = looked.owner
    is_shared, numbers = isinstance(owner, TrunkScope), scope_of(owner).sections
    if looked.error is not None:
        sections = dict.fromkeys(numbers, SectionState(State.UNREACHABLE))
        return OwnerStates(owner.name, is_shared, sections, str(looked.error))
    rows = {number: [row for section, row in looked.rows if section == number] for number in numbers}
    sections = {number: section_state(found) for number, found in rows.items()}
    return OwnerStates(owner.name, is_shared, sections)
