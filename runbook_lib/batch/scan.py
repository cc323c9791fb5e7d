"""The final check of a record: does any of its files contain a known secret?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ..plain_files import read
from ..records.run_folder import WITHHELD
from ..secret import find_secrets

CHANGE_IT = "change the secret, find out how it got there, and then delete the withheld files"


def scan(files: Iterable[Path]) -> dict[Path, list[str]]:
    """Return the files in whose content or name a known secret is, in any form, with the references.

    Raises ``OSError`` for anything that is neither a plain file nor a folder, because its content is unknown.
    """
    found = {}
    for path in files:
        if path.is_symlink() or not path.is_dir():
            with suppress(FileNotFoundError):  # a file that was there for a moment only
                if names := find_secrets(path.name.encode() + b"\n" + read(path)):
                    found[path] = names
    return found


def withhold(record: Path) -> Path:
    """Move a record (a folder, or one file) into a ``withheld`` folder that only its owner may enter."""
    folder = record.parent / WITHHELD
    if folder.exists() and folder.stat().st_uid != os.geteuid():  # it belongs to another account of the group
        folder = record.parent / f"{WITHHELD}-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return record.rename(folder / record.name)


def leak_summary(found: Mapping[Path, list[str]]) -> str:
    """Return which secrets were found in which files; never shows a value, not even in a file's name."""
    places = "; ".join(
        f"{', '.join(names)} in {path.suffix or 'a file'} {number}"
        if find_secrets(path.name)
        else f"{', '.join(names)} in {path.name}"
        for number, (path, names) in enumerate(found.items(), 1)
    )
    return f"the record contains secrets and is withheld: {places}"
