"""The words that occur in every record anyway: those that the runbook itself is written with.

A secret that is one of them cannot be removed from a record, or distinguished in it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .product import NOTEBOOKS, PACKAGE, PARAMETERS

#: Its source names every key of the vendors' answers, which records contain.
SANDBOX = PACKAGE.parent / "runbook_sandbox"
#: These write the notebooks' own keys, so the words of their sources are in records, too.
TOOLS = ("ipykernel", "papermill")


def is_own(text: str) -> bool:
    """Whether a text occurs, as a whole, in the files that make records or are copied into them.

    These are the library (with the keys of journal and record, and the titles of the sections), the
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
    # Searching bytes is much faster than searching text that has a few wide characters.
    return b"\n".join(path.read_bytes() for path in paths if path.is_file())
