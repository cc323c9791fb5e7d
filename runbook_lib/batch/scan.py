"""The last look at a record: is a known secret in any of its files?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ..plain_files import read
from ..records.record import WITHHELD
from ..secret import find

CHANGE_IT = "change the secret, find out how it got there, then delete what is withheld"


def scan(files: Iterable[Path]) -> dict[Path, list[str]]:
    """Return the files in whose content or name a known secret is, in any form, with the references.

    Raises ``OSError`` for what is neither a plain file nor a folder: nobody can say what is in it.
    """
    found = {}
    for path in files:
        if path.is_symlink() or not path.is_dir():
            with suppress(FileNotFoundError):  # a file that was there for a moment only
                if names := find(path.name.encode() + b"\n" + read(path)):
                    found[path] = names
    return found


def withhold(record: Path) -> Path:
    """Move a record (a folder, or one file) into a ``withheld`` folder that only its owner may enter."""
    folder = record.parent / WITHHELD
    if folder.exists() and folder.stat().st_uid != os.geteuid():  # another account of the group has that one
        folder = record.parent / f"{WITHHELD}-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return record.rename(folder / record.name)


def told(found: Mapping[Path, list[str]]) -> str:
    """Say which secrets were found in which files; never a value, also not in a file's name."""
    places = "; ".join(
        f"{', '.join(names)} in {path.suffix or 'a file'} {number}"
        if find(path.name)
        else f"{', '.join(names)} in {path.name}"
        for number, (path, names) in enumerate(found.items(), 1)
    )
    return f"the record holds secrets and is withheld: {places}"
