"""The product's own files: notebooks, schema, examples. They are only read, never written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
#: In a checkout, links to the folders at its top; in an installed package, copies of them.
DATA = PACKAGE / "data"
NOTEBOOKS = (DATA / "notebooks").resolve()
PARAMETERS = (DATA / "parameters").resolve()
#: Defaults of JupyterLab: it does not ask whether it may fetch news.
JUPYTER = PACKAGE / "jupyter"


def is_checkout(folder: Path) -> bool:
    """Whether a folder is a checkout of the product, this one or another."""
    return all(
        (folder / name).exists() for name in ("pyproject.toml", "notebooks", "runbook_lib/__init__.py")
    )


#: The checkout that contains this code; ``None`` if it is installed as a package.
CHECKOUT = PACKAGE.parent if is_checkout(PACKAGE.parent) else None


#: Options of a Python that runs this code: the folder that it starts in, a workspace, may hold modules of any
#: name, or a checkout of another version.
PYTHON = (sys.executable, "-P")


def python_path() -> str:
    """Return a ``PYTHONPATH`` with which ``PYTHON`` finds exactly this code, even if it is not installed."""
    own = str(CHECKOUT) if CHECKOUT else ""
    return os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH")]))


def is_installation(folder: Path) -> bool:
    """Whether a folder is where packages are installed: an upgrade deletes what is written there."""
    places = [] if CHECKOUT else [PACKAGE.parent]
    if sys.prefix != sys.base_prefix:
        places.append(Path(sys.prefix).resolve())
    return any(folder.resolve().is_relative_to(place) for place in places)
