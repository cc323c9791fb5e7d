"""One zip of a record, to attach to a ticket: the same bytes every time."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import SecretError
from ..plain_files import read
from ..secret import SecretRef, find, resolve, scrub
from .chain import CLOSED, FILES, Chain, Entry, digest_of_file
from .errors import RecordError
from .handing import write_copy
from .record import CHECKSUMS, OPENING, READ_ONLY, files_of
from .verify import check_record

#: The earliest time that a zip can hold; the record itself contains the real times.
TIME = (1980, 1, 1, 0, 0, 0)

_HOW_TO = """\
Record {run}
closed {at} (UTC)

Its digest in the chain of records:
{digest}

To check this copy, run these commands in the folder that contains this file (they need only coreutils):

1. cd record && sha256sum --check --strict ../SHA256SUMS
   Every file must be OK, and there must be no other file besides checksums.json.
2. sha256sum record/checksums.json
   must print {checksums}
   which is the "content" of the last line of chain.jsonl.
3. tail -n 1 chain.jsonl | sha256sum
   must print {bare}

This file and the two digests in it came in the same zip, so these three steps show only that the copy is
consistent. It is verified when the person who keeps the chain's heads (or their signatures) finds the digest
above in the chain:

   runbook records verify --head {digest}
"""


#: Keys of parameters whose values are references to secrets.
_SECRET_KEYS = frozenset({"auth_token", "api_key_secret", "password"})


def export_record(records: Path, run: str, out: Path, root: Path) -> list[str]:
    """Write a closed record with its entries of the chain and how to verify them, for who may see all of it.

    Returns and raises as ``require_exportable`` does, and raises ``RecordError`` when ``out`` exists.
    """
    missing = require_exportable(records, run, root)
    content = io.BytesIO()
    _write(content, records / run, _entries_of(records, run))
    write_copy(out, content.getvalue())
    return missing


def require_exportable(records: Path, run: str, root: Path) -> list[str]:
    """Raise ``RecordError`` unless a record may leave: closed, as it was closed, and without a secret.

    The secrets behind the record's own references are resolved (``file:`` paths beside the parameter file
    or in ``root``) and looked for in every file. Returns the references that cannot be resolved here, so
    that nobody looked for their values.
    """
    entries = _entries_of(records, run)
    if not entries or entries[-1].event != CLOSED:
        raise RecordError(
            f"record {run} is not closed",
            meaning="it is not yet fixed which files belong to it",
            next_step=f"wait until its run has ended; if the run died: runbook records close {run}",
        )
    if problems := check_record(records, run, entries):
        raise RecordError(
            f"record {run} has changed since it was closed: "
            + "; ".join(f"{one.path}: {one.what}" for one in problems),
            meaning="a copy would not be the original record; no zip was written",
            next_step="list every problem with: runbook records verify",
        )
    missing = _resolved(records / run, root)
    if found := list(_secrets_in(records / run)):
        raise RecordError(
            "the record holds secrets: " + "; ".join(found),
            meaning="no copy was written",
            next_step="change these secrets, and let nobody have the record as it is",
        )
    return missing


def _entries_of(records: Path, run: str) -> list[Entry]:
    return [one for one in Chain(records).entries() if one.run == run and one.event in FILES]


def _resolved(folder: Path, root: Path) -> list[str]:
    """Register a record's secrets with the filter; return the references that cannot be resolved here."""
    opening = json.loads(read(folder / OPENING))
    missing = set()
    for name, parameters in opening["parameters"].items():
        file = opening.get("files", {}).get(name)
        beside = (root / file).parent if file else None
        for reference in _references(parameters):
            try:
                resolve(replace(reference, folder=beside), root)
            except SecretError:
                missing.add(str(reference))
    return sorted(missing)


def _references(parameters: Any) -> Iterator[SecretRef]:
    """Every reference to a secret in parameters as plain data."""
    if isinstance(parameters, Mapping):
        for key, value in parameters.items():
            if key in _SECRET_KEYS and isinstance(value, str):
                with suppress(ValueError):
                    yield SecretRef.parse(value)
            else:
                yield from _references(value)
    elif isinstance(parameters, list):
        for value in parameters:
            yield from _references(value)


def _secrets_in(folder: Path) -> Iterator[str]:
    """Which known secret is in which file of a record."""
    for name, path in {**files_of(folder), CHECKSUMS: folder / CHECKSUMS}.items():
        if names := find(name.encode() + b"\n" + read(path)):
            yield f"{', '.join(names)} in {scrub(name)}"


def _write(file: BinaryIO, folder: Path, entries: list[Entry]) -> None:
    files = files_of(folder)
    closed = entries[-1]
    sums = "".join(
        f"{digest_of_file(path).removeprefix('sha256:')}  {name}\n" for name, path in sorted(files.items())
    )
    how_to = _HOW_TO.format(
        run=closed.run,
        at=closed.at,
        digest=closed.digest,
        checksums=closed.content.removeprefix("sha256:"),
        bare=closed.digest.removeprefix("sha256:"),
    )
    content = {
        "HOW_TO_VERIFY.txt": how_to.encode(),
        "SHA256SUMS": sums.encode(),
        "chain.jsonl": b"".join(one.line for one in entries),
        **{f"record/{name}": read(path) for name, path in files.items()},
        f"record/{CHECKSUMS}": read(folder / CHECKSUMS),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(content.items()):
            info = zipfile.ZipInfo(f"{folder.name}/{name}", TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, whatever writes it: the mode below is read the same everywhere
            info.external_attr = READ_ONLY << 16
            archive.writestr(info, data)
