"""A zip of a year's records for the archive: the chain, the folders, and a verifier."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from ..plain_files import read
from .chain import CLOSED, EVENTS, FILE_NAME, Chain
from .errors import RecordError
from .events import DISPOSED
from .export import COPY, FORMAT, FORMAT_PAGE, ONE_YEAR, VERIFIER, proof, require_exportable, write_zip
from .handing import write_copy
from .result import CHECKSUMS
from .run_folder import files_of
from .verify import SIGNATURES

_README = """\
Change records that were closed in {year}, with the whole chain of records.

To verify them, run this in the folder that has this file. It needs only Python 3.8 or newer (and ssh-keygen
for signatures):

    python3 {verifier} --copy .

With a head that was kept elsewhere: python3 {verifier} --copy . --head sha256:...
A verifier that you have from elsewhere checks the zip as well: python3 {verifier} ZIP
{page} explains how everything here is made, so that you can write a verifier without looking at this one.
"""


def write_archive(records: Path, year: int, out: Path, root: Path) -> tuple[list[str], list[str]]:
    """Write the zip of the records that closed in a year; return them, and references not resolved here.

    A record that was removed by rule is there as what stays of it. Raises ``RecordError`` where there is
    none, and as ``require_exportable`` does for each of them.
    """
    chain = Chain(records)
    entries = chain.entries()
    closed = [entry for entry in entries if entry.event == CLOSED and entry.at.startswith(f"{year:04}-")]
    runs = [str(entry.run) for entry in closed]
    if not runs:
        raise RecordError(f"no record closed in {year}", next_step="runbook records list shows them")
    removed = {entry.run for entry in entries if entry.event == DISPOSED}
    missing = [one for run in runs if run not in removed for one in require_exportable(records, run, root)]
    content = {FILE_NAME: b"".join(chain.lines())}
    for folder in (EVENTS, SIGNATURES):
        for path in sorted((records / folder).glob("*")):
            content[f"{folder}/{path.name}"] = read(path)
    for run in runs:
        for name, path in files_of(records / run).items():
            content[f"{run}/{name}"] = read(path)
        if (records / run / CHECKSUMS).exists():
            content[f"{run}/{CHECKSUMS}"] = read(records / run / CHECKSUMS)
    told = {"format": FORMAT, "kind": ONE_YEAR, "year": year, "folders": {run: run for run in runs}}
    content |= {
        COPY: (json.dumps(told, indent=1) + "\n").encode(),
        **proof(),
        "README.txt": _README.format(year=year, verifier=VERIFIER, page=FORMAT_PAGE).encode(),
    }
    file = io.BytesIO()
    write_zip(file, f"records-{year}", content, zipfile.ZIP_DEFLATED)
    write_copy(out, file.getvalue())
    return runs, sorted({*missing})
