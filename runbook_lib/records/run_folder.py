"""The folder of a run: the names of its files, and which of them exist."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from ..plain_files import NotPlainError, read
from ..secret import find_secrets
from .chain import digest_of_file
from .events import USED_FILE
from .formats import FORMAT
from .journal import FILE_NAME as JOURNAL
from .result import CHECKSUMS

OPENING, RECORD = "opening.json", "record.json"
RUN = "run.json"
#: Who closed the record of a run that died, when and why.
CLOSING = "closing.json"
#: What a comparison with an earlier record found.
COMPARISON = "comparison.json"
#: The approved plan and its signature, as copies in the record.
APPROVED = ("approved.plan.json", "approved.plan.json.sig")
#: The signed statement of the approval; its signatures have its name with ``.sig``, ``.2.sig``, ….
STATEMENT = "approval.json"
#: The lines of the site's allowed signers that had the keys of these signatures.
SIGNERS = "approval.signers"
SIGNATURES = 9
#: Beside the runs of a tenant: records that were withheld because a secret was found in them. Each account
#: has its own folder, which no other account may enter.
WITHHELD = "withheld"
#: What of a withheld record is not withheld, if it is clean: what the chain names, and what was written.
CARRIED = (OPENING, USED_FILE, "approv*", JOURNAL, "*.result.json")
READ_ONLY = 0o444


def run_name(records: Path, folder: Path) -> str:
    """Return how the chain names a run's folder: ``site/tenant/run id``."""
    return folder.relative_to(records).as_posix()


class OfRun:
    """What is known of a run, by the name that the chain has for it: ``site/tenant/run id``."""

    run: str

    @property
    def site(self) -> str:
        """The site's name."""
        return self.run.split("/")[0]

    @property
    def tenant(self) -> str:
        """The tenant's name, or that of the run's shared trunk."""
        return self.run.split("/")[1]

    @property
    def run_id(self) -> str:
        """The run's own part of its name."""
        return self.run.split("/")[2]


def signature_names(statement: Path) -> list[Path]:
    """Return the paths at which the signatures of a statement's file may be, in order."""
    suffixes = ["sig", *(f"{number}.sig" for number in range(2, SIGNATURES + 1))]
    return [statement.with_name(f"{statement.name}.{suffix}") for suffix in suffixes]


def refuse_links(records: Path, run: str) -> None:
    """Raise ``NotPlainError`` when a folder on the way to a run's, or that itself, is a link."""
    for folder in accumulate((str(records), *PurePosixPath(run).parts), os.path.join):
        if folder != str(records) and os.path.islink(folder):
            raise NotPlainError(errno.ELOOP, "a link, which is not followed", folder)


def is_open(folder: Path) -> bool:
    """Whether a run's record was opened and is not closed."""
    return os.path.lexists(folder / OPENING) and not os.path.lexists(folder / CHECKSUMS)


def files_of(folder: Path) -> dict[str, Path]:
    """Return everything below a run's folder that is not a folder, by its name in the checksums.

    Without the checksums themselves.
    """
    found = {name: folder / name for name in contents(folder)[0]}
    found.pop(CHECKSUMS, None)
    return found


def contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of everything below a folder that is not a folder, and of the folders with no such
    thing in them, the innermost first. Links are not followed.

    Raises ``OSError`` for a folder that cannot be read.
    """
    files: list[str] = []
    folders: list[str] = []
    for path, below, names in os.walk(folder, onerror=_raise):
        inside = os.path.relpath(path, folder) + "/" if path != str(folder) else ""
        links = [name for name in below if os.path.islink(os.path.join(path, name))]
        files += [inside + name for name in (*links, *names)]
        folders += [inside + name for name in below if name not in links]
    empty = [one for one in reversed(folders) if not any(name.startswith(f"{one}/") for name in files)]
    return files, empty


def checksums(run: str, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the digests of a run's files, as ``checksums.json`` has them."""
    return {
        "format": FORMAT,
        "run": run,
        "files": {name: digest_of_file(file) for name, file in sorted(files.items())},
    }


def carry_clean(withheld: Path, folder: Path) -> None:
    """Give the folder that replaces a withheld record what shows who changed what with which approval.

    Files with a secret in them stay withheld; so do notebooks, pages and anything else.
    """
    for path in (path for pattern in CARRIED for path in withheld.glob(pattern)):
        if not find_secrets(path.name.encode() + b"\n" + read(path)):
            shutil.copyfile(path, folder / path.name)


def is_withheld(name: str) -> bool:
    """Whether a folder beside the runs of a tenant is one for withheld records."""
    return name == WITHHELD or name.startswith(f"{WITHHELD}-")


def withheld_from(folder: Path) -> Path | None:
    """Return the folder with a run's withheld files; ``None`` if there is none or it is somebody else's."""
    for beside in folder.parent.glob(f"{WITHHELD}*"):
        with suppress(OSError):
            if is_withheld(beside.name) and (beside / folder.name).is_dir():
                return beside / folder.name
    return None


def _raise(error: OSError) -> None:
    raise error
