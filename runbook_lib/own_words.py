"""What stands in every record with any secret: the words that the runbook itself is written with.

A secret that is one of them cannot be taken out of a record, nor told from it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .product import NOTEBOOKS, PACKAGE, PARAMETERS

#: Its source names every key of the vendors' answers, which records hold.
SANDBOX = PACKAGE.parent / "runbook_sandbox"
#: These write the notebooks' own keys: their sources are words of a record as ours are.
TOOLS = ("ipykernel", "papermill")


def is_own(text: str) -> bool:
    """Whether a text is, as a whole, somewhere in the files that records are made by and made of.

    The library, where the keys of journal and record are and the titles of the sections, the
    notebooks, the schema of the parameters, and the tools that write notebooks.
    """
    return text.encode(errors="surrogatepass") in _everything()


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
