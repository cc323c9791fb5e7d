"""Where the server of the open notebook shows files, so that links to a record lead somewhere.

Our extension of Jupyter's server shows records as pages that link to each other. Without it there are the
files below the server's root, as JupyterLab shows them, and a link in an output starts at the notebook.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from jupyter_core.paths import jupyter_runtime_dir

from ..plain_files import read_mapping

#: Set by Jupyter's server for its kernels: the notebook's path, as the server sees it.
NOTEBOOK = "JPY_SESSION_NAME"
#: Set by our extension of the server for its kernels: the records folder that it serves, and where.
RECORDS, RECORDS_URL = "RUNBOOK_SERVED_RECORDS", "RUNBOOK_SERVED_RECORDS_URL"
#: Process id of what started this kernel; ``batch.fork_server`` sets it, whose child a forked kernel is.
started_by: int | None = None


@dataclass(frozen=True)
class Served:
    """The notebook's folder and the folder that its server shows (``None``: unknown), both as written.

    ``records`` is the folder whose files have their own page below ``url``, which starts at the server.
    """

    here: Path
    root: Path | None
    records: Path | None = None
    url: str = ""

    @classmethod
    def by_this_kernel(cls) -> Self:
        """Find the server that started this kernel by the file that each server keeps of itself."""
        told = read_mapping(Path(jupyter_runtime_dir()) / f"jpserver-{started_by or os.getppid()}.json")
        root = told.get("root_dir")
        notebook = Path(os.environ.get(NOTEBOOK, ""))
        here = notebook.parent if notebook.is_absolute() else Path.cwd()
        records, url = os.environ.get(RECORDS), os.environ.get(RECORDS_URL, "")
        return cls(
            here, Path(root) if isinstance(root, str) else None, Path(records) if records else None, url
        )

    def path_of(self, path: Path) -> str | None:
        """Return a file's path as the server has it; ``None`` where it does not show it."""
        root = Path(os.path.realpath(self.root if self.root is not None else self.here))
        real = Path(os.path.realpath(path))
        return real.relative_to(root).as_posix() if real.is_relative_to(root) else None

    def link(self, path: Path) -> str | None:
        """Return the link to a file from the notebook; ``None`` where the server does not show it.

        A page of a record that our extension serves has its own address. Without a known server the
        link starts at the notebook's folder, as in a page that was saved there.
        """
        if (page := self._page(path)) is not None:
            return page
        if self.root is None:
            return Path(os.path.relpath(path, self.here)).as_posix()
        real_root, real = Path(os.path.realpath(self.root)), Path(os.path.realpath(path))
        if self.here.is_relative_to(self.root):
            start = self.here.relative_to(self.root)  # as the server sees it: links among folders stay links
        elif (here := Path(os.path.realpath(self.here))).is_relative_to(real_root):
            start = here.relative_to(real_root)
        else:
            return None
        if not real.is_relative_to(real_root):
            return None
        return Path(os.path.relpath(Path("/", real.relative_to(real_root)), Path("/", start))).as_posix()

    def _page(self, path: Path) -> str | None:
        """The address of a record's page; it starts with a slash, so JupyterLab leaves the link as it is."""
        if self.records is None or path.suffix == ".ipynb":
            return None
        records, real = (Path(os.path.realpath(one)) for one in (self.records, path))
        return (
            self.url + quote(real.relative_to(records).as_posix()) if real.is_relative_to(records) else None
        )
