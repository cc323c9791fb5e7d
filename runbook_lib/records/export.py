"""One zip of a record, to attach to a ticket: the same bytes every time."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import SecretError
from ..plain_files import read
from ..secret import SecretRef, find_secrets, resolve, scrub
from .chain import CLOSED, EVENTS, FILE_NAME, FILES, Chain, Entry, digest_of_file
from .disposed import refuse_removed
from .errors import RecordError
from .handing import write_copy
from .result import CHECKSUMS
from .run_folder import OPENING, READ_ONLY, files_of
from .verify import SIGNATURES, verify_record

#: The earliest time that a zip can hold; the record itself contains the real times.
TIME = (1980, 1, 1, 0, 0, 0)

#: What says which folders a copy has, and where; a verifier, and the page that describes the format.
COPY, VERIFIER, FORMAT_PAGE = "copy.json", "check_records.py", "FORMAT.md"
#: What a copy is of. Older copies do not say it; only those of a year have a year.
ONE_RECORD, ONE_YEAR = "record", "year"
#: A small records folder with every event, and what is wrong with it after each of several changes.
VECTORS = "VECTORS.json"
FORMAT = 1

_HOW_TO = """\
Record {run}
closed {at} (UTC)

Its digest in the chain of records:
{digest}

To verify it, run this in the folder that has this file. It needs only Python 3.8 or newer (and ssh-keygen
for signatures):

   python3 check_records.py --copy .

Whoever changed this copy could also have changed the verifier in it. A check_records.py that you have from
elsewhere checks the zip as well: python3 check_records.py ZIP

To verify it by hand (with coreutils only):

1. cd record && sha256sum --check --strict ../SHA256SUMS
   Every file must be OK, and there must be no other files except checksums.json.
2. sha256sum record/checksums.json
   must print {checksums}
   which is the "content" of line {number} of chain.jsonl.
3. sed -n {number}p chain.jsonl | sha256sum
   must print {bare}
   Each line has the digest of the line before it as "previous", so the last one covers them all.

This file and the digests in it came in the same zip, so all of this shows only that the copy is
consistent. It is verified if somebody who has the chain's heads (or their signatures) finds the digest above
in the chain:

   runbook records verify --head {digest}

or if a head below signatures/, to which the lines of chain.jsonl lead, was signed by somebody whom you
trust: python3 check_records.py --copy . --allowed-signers FILE --identity NAME

FORMAT.md explains how everything here is made. chain.jsonl also has lines of other records: only their names.
"""


#: Keys of parameters whose values are references to secrets.
_SECRET_KEYS = frozenset({"auth_token", "api_key_secret", "password"})


def export_record(records: Path, run: str, out: Path, root: Path) -> list[str]:
    """Write a closed record, its entries of the chain and how to verify them, for readers of all of it.

    Returns and raises as ``require_exportable`` does, and raises ``RecordError`` when ``out`` exists.
    """
    missing = require_exportable(records, run, root)
    content = io.BytesIO()
    _write(content, records, run, Chain(records).entries())
    write_copy(out, content.getvalue())
    return missing


def require_exportable(records: Path, run: str, root: Path) -> list[str]:
    """Raise ``RecordError`` unless a record may be handed out: closed, unchanged, and without a secret.

    The secrets behind the record's own references are resolved (``file:`` paths beside the parameter file
    or in ``root``) and looked for in every file. Returns the references that cannot be resolved here, so
    that nobody looked for their values.
    """
    refuse_removed(Chain(records).entries(), run)
    entries = _entries_of(records, run)
    if not entries or entries[-1].event != CLOSED:
        raise RecordError(
            f"record {run} is not closed",
            meaning="it is not yet fixed which files belong to it",
            next_step=f"wait until its run has ended; if the run died: runbook records close {run}",
        )
    if problems := verify_record(records, run, entries):
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
            next_step="change these secrets, and do not give the record to anybody in this state",
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
        if names := find_secrets(name.encode() + b"\n" + read(path)):
            yield f"{', '.join(names)} in {scrub(name)}"


def proof() -> dict[str, bytes]:
    """Return what every copy has beside its records: a verifier, the page on the format, and its vectors."""
    names = {VERIFIER: VERIFIER, FORMAT_PAGE: "format.md", VECTORS: "vectors.json"}
    return {name: read(Path(__file__).with_name(file)) for name, file in names.items()}


def _write(file: BinaryIO, records: Path, run: str, entries: Sequence[Entry]) -> None:
    folder, files = records / run, files_of(records / run)
    own = [entry for entry in entries if entry.run == run]
    closed = next(entry for entry in own if entry.event == CLOSED)
    sums = "".join(
        f"{digest_of_file(path).removeprefix('sha256:')}  {name}\n" for name, path in sorted(files.items())
    )
    first = own[0].seq
    signed = _signed_head(records, entries, closed.seq)
    lines = entries[first : (signed or closed).seq + 1]
    how_to = _HOW_TO.format(
        run=closed.run,
        at=closed.at,
        digest=closed.digest,
        checksums=closed.content.removeprefix("sha256:"),
        bare=closed.digest.removeprefix("sha256:"),
        number=closed.seq - first + 1,
    )
    told = {"format": FORMAT, "kind": ONE_RECORD, "folders": {run: "record"}}
    content = {
        "HOW_TO_VERIFY.txt": how_to.encode(),
        "SHA256SUMS": sums.encode(),
        FILE_NAME: b"".join(entry.line for entry in lines),
        COPY: (json.dumps(told, indent=1) + "\n").encode(),
        **proof(),
        **{f"record/{name}": read(path) for name, path in files.items()},
        f"record/{CHECKSUMS}": read(folder / CHECKSUMS),
        **{
            entry.file: read(records / entry.file)
            for entry in lines
            if entry.run == run and entry.file.startswith(f"{EVENTS}/")
        },
    }
    if signed is not None:
        for head in _heads_of(records, signed):
            content[f"{SIGNATURES}/{head.name}"] = read(head)
            content[f"{SIGNATURES}/{head.name}.sig"] = read(head.with_name(f"{head.name}.sig"))
    write_zip(file, folder.name, content)


def _signed_head(records: Path, entries: Sequence[Entry], seq: int) -> Entry | None:
    """The first entry from a number on whose digest somebody signed; so no more is shown than has to be."""
    return next((entry for entry in entries[seq:] if _heads_of(records, entry)), None)


def _heads_of(records: Path, entry: Entry) -> list[Path]:
    """The files of an entry's digest that were signed."""
    return [
        head
        for head in sorted((records / SIGNATURES).glob(f"{entry.seq:06}-*.head"))
        if read(head) == f"{entry.digest}\n".encode() and head.with_name(f"{head.name}.sig").exists()
    ]


def write_zip(
    file: BinaryIO, folder: str, content: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> None:
    """Write files below one folder: the same bytes every time."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in sorted(content.items()):
            info = zipfile.ZipInfo(f"{folder}/{name}", TIME)
            info.compress_type = compression
            info.create_system = 3  # Unix, whatever writes it: the mode below is read the same everywhere
            info.external_attr = READ_ONLY << 16
            archive.writestr(info, data)
