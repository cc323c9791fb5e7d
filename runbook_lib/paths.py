"""Which file a path means: one rule for every way in.

A path is looked up in a few folders, in order: a typed path in the current folder and then in
the workspace; a path in a parameter file beside that file and then in the workspace. If both
have it and the two files differ, it is unclear which one is meant, so it is refused.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InputError

#: Larger files are not compared: neither a parameter file nor a secret is one.
LARGEST_COMPARED = 1_000_000
#: Where systemd puts a unit's credentials; ``$CREDENTIALS_DIRECTORY/NAME`` is a path inside.
CREDENTIALS = "CREDENTIALS_DIRECTORY"


def current_folder() -> Path | None:
    """Return the current folder; ``None`` when it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None


def candidates(given: str | Path, *folders: Path | None) -> list[Path]:
    """Return the full paths that a path may mean, in lookup order."""
    path = Path(given)
    if path.parts[:1] == (f"${CREDENTIALS}",) and (credentials := os.environ.get(CREDENTIALS)):
        path = Path(credentials, *path.parts[1:])
    with suppress(RuntimeError):  # ~ of a user that does not exist
        path = path.expanduser()
    return list(dict.fromkeys(Path(folder, path) for folder in folders if folder is not None))


def locate(given: str | Path, *folders: Path | None) -> Path | None:
    """Return the full path of the one file (or folder) that a path means; ``None`` if there is none.

    Raises ``InputError`` if two of the folders have it and the two differ.
    """
    found = [path for path in candidates(given, *folders) if _is_there(path)]
    for other in found[1:]:
        if not _same(found[0], other):
            raise InputError(
                [f"{given} could be {found[0]} or {other}, and the two differ: give the full path"]
            )
    return found[0] if found else None


def looked_for(given: str | Path, *folders: Path | None) -> str:
    """Return the full paths at which nothing was found, for a message."""
    return " and ".join(map(str, candidates(given, *folders)))


def is_old_reading(given: str, folder: Path | None, root: Path) -> bool:
    """Whether a parameter file's path, of ``folder``, is found only in the workspace, as in older versions.

    What is below ``.sandbox/`` belongs there.
    """
    if folder is None or Path(given).parts[:1] == (".sandbox",):
        return False
    beside, in_workspace = candidates(given, folder)[0], candidates(given, root)[0]
    return beside != in_workspace and not _is_there(beside) and _is_there(in_workspace)


def near(path: Path, root: Path) -> str:
    """Return a path as a person in the workspace would type it, and as records keep it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder, as it is written or through links."""
    return any(Path(read(path)).is_relative_to(read(folder)) for read in (os.path.abspath, os.path.realpath))


@dataclass(frozen=True)
class NamedFile:
    """A file that a parameter file names; ``folder`` is that parameter file's folder, if it is a file."""

    place: str
    folder: Path | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.place

    def path(self, root: Path) -> Path:
        """Return its full path: beside the parameter file, or else in the workspace ``root``.

        Raises ``InputError`` if there is no such file, or if both have one and the two differ.
        """
        found = locate(self.place, self.folder, root)
        if found is None:
            raise InputError([f"there is no file {looked_for(self.place, self.folder, root)}"])
        return found


def _is_there(path: Path) -> bool:
    """Whether something has this name, even a dangling link or something that must not be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _same(one: Path, other: Path) -> bool:
    try:
        if one.samefile(other):
            return True
        if not (one.is_file() and other.is_file()) or one.stat().st_size > LARGEST_COMPARED:
            return False
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:
        return False
