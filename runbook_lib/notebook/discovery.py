"""The notebook of discover: tenants that were set up by hand, as parameter files, and what does not fit."""

from __future__ import annotations

from pathlib import Path

from ..discover.drafts import COLUMNS
from ..discover.files import write_all
from ..discover.finding import discover_site
from ..errors import InputError
from ..parameters import load_site, project_root
from ..paths import current_folder, locate, near
from ..words import requested
from .display import Box, Shown, utc
from .failures import told_plainly
from .outgoing import filter_kernel_output
from .passing import check_passed
from .tables import Stack, Table


def open_discovery(site: str | Path, to: str | Path | None = None) -> DiscoveryPage:
    """Read a site at both vendors, and return what was found; changes nothing there, and writes no file.

    ``to`` is the folder for the parameter files, from the workspace on; without it they are only shown.
    """
    filter_kernel_output()
    with told_plainly():
        check_passed("plan", ("to",))
        return DiscoveryPage(site, to)


class DiscoveryPage:
    """What was found of one site: ``tenants``, ``oddities``, ``files``."""

    def __init__(self, site: str | Path, to: str | Path | None) -> None:
        self._root = project_root()
        found_file = locate(site, self._root, current_folder())
        if found_file is None:
            raise InputError([f"site: there is no file {site}"])
        self._file, self._to = found_file, to
        self._site = load_site(found_file, self._root)
        self._found = discover_site(self._site, self._root)
        self._read = f"read {utc()}"

    def tenants(self) -> Shown:
        """Return a table of the tenants that become parameter files."""
        live = self._site.target == "live"
        banner = (
            "LIVE: this was read from the telephone service of a real business; nothing was changed"
            if live
            else "SANDBOX: both vendors are simulated on this machine"
        )
        rows = [
            (name, data["pbx_domain"], data["dids"], data.get("shared_trunk"), name in self._found.in_place)
            for name, data in self._found.drafts.tenants.items()
        ]
        columns = ("Tenant", "SIP domain", "Numbers", "Shared trunk", "Everything in place")
        table = Table("Tenants that were found", columns, rows, owner=self._site.name, read=self._read)
        return Stack((Box("caution" if live else "info", banner, (requested(self._found.requests),)), table))

    def oddities(self) -> Shown:
        """Return a table of what does not fit into any file."""
        rows = self._found.drafts.odd_rows()
        return Table("What does not fit", COLUMNS, rows, owner=self._site.name, read=self._read)

    def files(self) -> Shown:
        """Write the parameter files, if a folder was named; return which were written, and how they differ.

        An existing file is never overwritten: the new one is written beside it.
        """
        if self._to is None:
            return Box(
                "info",
                "No file was written.",
                ("To write the files, give a folder in the parameter cell: to = …",),
            )
        with told_plainly():
            written = write_all(self._found.drafts, self._file, self._root / self._to)
        rows = [
            (near(one.path, self._root), "written" if one.is_new else "there already", one.difference or None)
            for one in written
        ]
        columns = ("File", "What was done", "Difference from the existing file")
        return Table("Parameter files", columns, rows, owner=self._site.name)
