"""What stands in every record with any secret: the words that the runbook itself is written with.

A secret that is one of them cannot be taken out of a record, nor told from it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .product import NOTEBOOKS, PACKAGE, PARAMETERS

#: Its source names every key of the vendors' answers, which records hold.
SANDBOX = PACKAGE.parent / "runbook_sandbox"
#: These write the notebooks' own keys: their sources are words of a record as ours are.
TOOLS = ("ipykernel", "papermill")
_RUNS = re.compile(rb"[A-Za-z0-9]+")
_BETWEEN = bytes(code if _RUNS.fullmatch(bytes([code])) else ord(" ") for code in range(256))


def is_own(text: str) -> bool:
    """Whether a text is, as a whole, somewhere in the files that records are made by and made of.

    The library, where the keys of journal and record are and the titles of the sections, the
    notebooks, the schema of the parameters, and the tools that write notebooks.
    """
    raw = text.encode(errors="surrogatepass")
    # Asked for every secret of a site, and nearly none is: it has a run that is part of no word there.
    return all(run in _words() for run in _RUNS.findall(raw)) and raw in _everything()


@cache
def _words() -> bytes:
    """Each run of letters and digits in all these files, once."""
    return b" ".join({*_everything().translate(_BETWEEN).split()})


@cache
def _everything() -> bytes:
    paths = [
        *PACKAGE.rglob("*.py"),
        *SANDBOX.rglob("*.py"),
        *NOTEBOOKS.glob("*.ipynb"),
        PARAMETERS / "schema.json",
    ]
    for name in TOOLS:
        found = find_spec(name)
        for folder in found.submodule_search_locations or () if found else ():
            paths += Path(folder).glob("*.py")
    # Bytes are searched much faster than a text with a few wide characters in it.
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())
