"""Which tenant files belong to a site: what ``--all`` means.

A tenant file does not name its site, its place does: it belongs to the site file in its own folder, or in the
nearest folder above it. "All" must never mean too many or too few, so what could belong to two sites, or to
none, is refused; and any YAML file among tenant files counts as one, so that reading it says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..plain_files import describe

#: Where a workspace's parameter files are.
FOLDER = "parameters"
#: Folders in there that are the product's own: their tenants are never another site's.
OWN_FOLDERS = ("example", "sandbox")
SUFFIXES = (".yaml", ".yml")
_SITE = re.compile(rb"""^(\xef\xbb\xbf)?["']?site["']?[ \t]*:""", re.MULTILINE)


def tenant_files(site: Path, workspace: Path) -> list[Path]:
    """Return the full paths of a site's tenant files, in the order of their names; at least one.

    They are beside the site's file, or below the workspace's ``parameters/`` with no other site file nearer.
    Those there that have no site file above them belong to the only site there is.

    Raises ``InputError`` when there are none, or when one could belong to another site.
    """
    if not site.is_file():
        raise InputError([f"{site.absolute()}: there is no such site file"], next_step="correct --site")
    # Links are resolved in folders only: a file belongs to the folder in which it is named.
    site, root = site.parent.resolve() / site.name, (workspace / FOLDER).resolve()
    files = {path: _is_site(path) for path in {*_beside(site.parent), *_below(root)} if path != site}
    files[site] = True
    sites: dict[Path, list[Path]] = {}
    for path in sorted(path for path, is_site in files.items() if is_site):
        sites.setdefault(path.parent, []).append(path)
    beside = [path for path in sites[site.parent] if path != site]
    if beside:
        raise InputError(
            [f"{site} and {beside[0]} are in the same folder, so its tenants could belong to either"],
            next_step="name the tenant files, or give each site its own folder",
        )
    found, homeless = [], []
    for path in sorted(path for path, is_site in files.items() if not is_site):
        above = (folder for folder in path.parents if folder == path.parent or folder.is_relative_to(root))
        home = next((folder for folder in above if folder in sites), None)
        if home == site.parent:
            found.append(path)
        elif home is None:
            homeless.append(path)
    own = [root / name for name in OWN_FOLDERS]
    if site.parent not in own:
        others = [folder for folder in sites if folder not in (site.parent, *own)]
        if homeless and others:
            raise InputError(
                [
                    f"{path}: belongs to no site: there is no site file in its folder or above it"
                    for path in homeless
                ],
                next_step="name the tenant files, or move each below the folder of its site's file",
            )
        found = sorted([*found, *homeless])
    if not found:
        raise InputError(
            [f"{site} has no tenants: there is no tenant file beside it, and none for it below {root}"],
            next_step="write a file for each tenant beside the site's file, or name the files",
        )
    return found


def site_files(workspace: Path) -> list[Path]:
    """Return the full paths of the site files below ``parameters/``: an operator's own, then the sandbox's.

    The product's example is none.
    """
    root = (workspace / FOLDER).resolve()
    example, sandbox = (root / name for name in OWN_FOLDERS)
    found = [path for path in _below(root) if not path.is_relative_to(example) and _is_site(path)]
    return sorted(found, key=lambda path: (path.is_relative_to(sandbox), path))


def _beside(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if _is_parameter_file(path, folder))


def _below(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if _is_parameter_file(path, root))


def _is_parameter_file(path: Path, root: Path) -> bool:
    """Whether it is YAML, and neither it nor a folder that it is in is hidden, as editors' copies are."""
    shown = not any(part.startswith(".") for part in path.relative_to(root).parts)
    return shown and path.suffix in SUFFIXES and path.is_file()


def _is_site(path: Path) -> bool:
    """Whether a file has the key ``site`` at its beginning's level."""
    try:
        return _SITE.search(path.read_bytes()) is not None
    except OSError as error:
        raise InputError([f"{describe(error)}, so it is unknown whether it is a tenant file"]) from None
