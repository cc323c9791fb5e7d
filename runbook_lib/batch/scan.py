"""The last look at a record: is a known secret in any of its files?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..secret import find

WITHHELD = "withheld"
CHANGE_IT = "change the secret, find out how it got there, then delete what is withheld"


def scan(files: Iterable[Path]) -> dict[Path, list[str]]:
    """Return the files in whose content or name a known secret is, in any form, with the references."""
    found = {path: find(path.name.encode() + b"\n" + path.read_bytes()) for path in files if path.is_file()}
    return {path: names for path, names in found.items() if names}


def withhold(record: Path) -> Path:
    """Move a record (a folder, or one file) into a ``withheld`` folder that only its owner may enter."""
    folder = record.parent / WITHHELD
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
