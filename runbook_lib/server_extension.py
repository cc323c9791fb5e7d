"""Records in the browser, behind JupyterLab's own sign-in: an extension of Jupyter's server.

JupyterLab shows an HTML file in a frame without an origin, in which no link to another page works. So records
are served at their own address below the server's base URL, which also works behind a hub: read-only,
as they are, with a policy that lets a page run no script but our own and send nothing anywhere.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from .batch.frame import POLICY
from .errors import RunbookError
from .notebook.served import RECORDS, RECORDS_URL
from .plain_files import LIMIT
from .records.run_folder import is_withheld
from .records.verify import INDEX
from .workspace import OLD_VARIABLE, VARIABLE, Workspace, find_workspace, workspace_around

#: What Jupyter loads.
MODULE = __name__
PLACE = "runbook/records"
#: How long the tasks of a server that ends may take.
ENDING_S = 5.0
_TEXT = "text/plain; charset=utf-8"
#: What a browser shows; everything else is downloaded.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    **dict.fromkeys((".jsonl", ".toml", ".sig", ".signers", ".head", ".md", ".txt"), _TEXT),
}
DOWNLOADS = {".ipynb": "application/x-ipynb+json"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # No page of another site may load a record, not even as an image or a script.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": MODULE}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Serve the records of the workspace that the server shows, and let its kernels know where."""
    _end_with_its_loop(app)
    try:
        workspace = _workspace(Path(app.root_dir))
    except RunbookError as error:
        app.log.warning("The runbook's records are not served: %s", error.what)
        return
    if workspace is None:
        app.log.info("The runbook's records are not served: %s is not in a workspace", app.root_dir)
        return
    address = url_path_join(app.base_url, PLACE)
    app.web_app.add_handlers(
        ".*$",
        [
            (f"{address}$", web.RedirectHandler, {"url": f"{address}/"}),
            (f"{address}/(.*)", RecordsHandler, {"records": workspace.records}),
        ],
    )
    os.environ |= {RECORDS: str(workspace.records), RECORDS_URL: f"{address}/"}


def _end_with_its_loop(app: Any) -> None:
    """End the tasks of the server's event loop when it stops, as ``asyncio.run`` does.

    Jupyter abandons them. A thread that AnyIO started for one of them ends with that task, and Python waits
    for the thread: a server that is ended while a page is open or a kernel starts would never end.
    """
    start = app.start_ioloop

    def start_and_end() -> None:
        start()
        loop = app.io_loop.asyncio_loop
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=ENDING_S))

    app.start_ioloop = start_and_end


def _workspace(root: Path) -> Workspace | None:
    if os.environ.get(VARIABLE) or os.environ.get(OLD_VARIABLE):
        return find_workspace()
    return workspace_around(root.resolve())


class RecordsHandler(JupyterHandler):
    """One file of the records folder, for signed-in users."""

    SUPPORTED_METHODS = ("GET", "HEAD")
    auth_resource = "contents"

    def initialize(self, records: Path) -> None:
        """Remember where the records are."""
        self._records = records

    @property
    def content_security_policy(self) -> str:
        """The policy of every answer, whatever the server's own settings say."""
        return f"{POLICY}; frame-ancestors 'self'"

    def set_default_headers(self) -> None:
        """Forbid a page to load from or send to any other site."""
        super().set_default_headers()
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    @web.authenticated
    @authorized
    async def head(self, path: str) -> None:
        """Answer as ``get``, without the content."""
        await self._answer(path)

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        """Answer with a file; with a folder's page, for a folder that has one."""
        await self._answer(path)

    async def _answer(self, path: str) -> None:
        parts = path.split("/")
        if parts[-1] == "":
            parts[-1] = INDEX
        try:
            content = await asyncio.to_thread(read_below, self._records, parts)
        except IsADirectoryError:
            self.redirect(f"{self.request.path}/")
            return
        except OSError:
            raise web.HTTPError(404) from None
        suffix = Path(parts[-1]).suffix
        if suffix in TYPES:
            self.set_header("Content-Type", TYPES[suffix])
        else:
            self.set_header("Content-Type", DOWNLOADS.get(suffix, "application/octet-stream"))
            self.set_attachment_header(parts[-1])
        self.set_header("Content-Length", len(content))
        if self.request.method != "HEAD":
            self.write(content)
        await self.finish()


def read_below(folder: Path, parts: list[str]) -> bytes:
    """Return the content of a plain file below a folder; raises ``OSError`` for anything else.

    Each part is opened in the one before it and no link is followed, so that nothing outside can be reached,
    whatever somebody puts there in the meantime. Hidden files and withheld records are not there.
    """
    if any(part in ("", ".", "..") or "\0" in part or "/" in part for part in parts):
        raise FileNotFoundError
    if any(part.startswith(".") or is_withheld(part) for part in parts):
        raise FileNotFoundError
    with _opened(folder, parts) as file:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode) or status.st_size > LIMIT:
            raise FileNotFoundError
        with os.fdopen(os.dup(file), "rb") as content:
            return content.read(status.st_size)


@contextmanager
def _opened(folder: Path, parts: list[str]) -> Iterator[int]:
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            # A FIFO that somebody put there does not block.
            found = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inside)
            os.close(inside)
            inside = found
        yield inside
    finally:
        os.close(inside)
