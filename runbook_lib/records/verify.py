"""Whether records are what they were when they were closed. Reads only; needs no secret.

The chain holds together by itself, but who can write here can also write all of it anew. So nothing is
called verified without something from elsewhere: a head that was kept, or a signature of one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .chain import CLOSED, DIGEST, FILE_NAME, OPENED, Chain, Entry, digest_of_file
from .record import CHECKSUMS, OPENING, RECORD, RUN, files_of

VERIFIED, CONSISTENT, DAMAGED = "verified", "consistent, not anchored", "not verified"
#: Beside the runs of a tenant: records that were taken out of them because a secret was found inside.
WITHHELD = "withheld"
SIGNATURES = "signatures"
#: Made from the records, written anew by every run.
INDEX = "index.html"
#: Between the runs, beside locks: the chain, the page over it, and what is remembered of signing in.
OURS = frozenset({FILE_NAME, INDEX, "sign-in-refused.json"})


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was: the file, relative to the records folder, and what is wrong."""

    path: str
    what: str


@dataclass(frozen=True)
class Anchor:
    """A head that somebody vouches for; ``source`` says who: the kept head, or a signer."""

    digest: str
    source: str


@dataclass(frozen=True)
class Report:
    """What was found.

    ``anchored`` is the last entry that a kept head or a signature vouches for, with all before it;
    ``after`` the runs with entries behind it. ``unchained`` are runs outside the chain that never
    claimed to be in it (plans, verifications, plain papermill), ``strays`` whatever else lies between
    the records: nothing vouches for either.
    """

    problems: tuple[Problem, ...]
    entries: tuple[Entry, ...]
    anchored: Entry | None
    anchors: tuple[Anchor, ...]
    unchained: tuple[str, ...]
    strays: tuple[str, ...]

    @property
    def status(self) -> str:
        """``"verified"``, ``"consistent, not anchored"`` or, with problems, ``"not verified"``."""
        if self.problems:
            return DAMAGED
        return VERIFIED if self.anchored else CONSISTENT

    @property
    def records(self) -> tuple[str, ...]:
        """The closed records, in order."""
        return tuple(one.run for one in self.entries if one.event == CLOSED)

    @property
    def after(self) -> tuple[Entry, ...]:
        """The entries behind the anchored one; all of them without one."""
        last = self.anchored.seq if self.anchored else -1
        return tuple(one for one in self.entries if one.seq > last)


def verify(records: Path, anchors: Sequence[Anchor] = (), known: Sequence[Problem] = ()) -> Report:
    """Compare the records of a folder with their checksums, the chain and heads from elsewhere.

    ``known`` are problems that were found on the way to the heads.
    """
    lines = Chain(records).lines()
    entries, problems = _read_chain(lines)
    chained = {one.run for one in entries if is_run(one.run)}
    problems += [*_histories(entries), *known]
    closed_by_content = {one.content: one.run for one in entries if one.event == CLOSED}
    for run in sorted(chained):
        problems += _record(records, run, entries, closed_by_content)
    unchained = []
    for run in _run_folders(records):
        if run in chained:
            continue
        if claim := _claims(records / run):
            problems.append(Problem(f"{run}/{claim}", "extra: the chain has no entry of this record"))
        else:
            unchained.append(run)
    # What follows a break in the chain is not what the digest of its last entry stands for.
    whole = not any(one.path == FILE_NAME for one in problems)
    by_digest = {one.digest: one for one in entries} if whole else {}
    problems += [
        Problem(FILE_NAME, f"cut or written anew: {anchor.source}, {anchor.digest}, is not in it")
        for anchor in anchors
        if anchor.digest not in by_digest
    ]
    found = [by_digest[anchor.digest] for anchor in anchors if anchor.digest in by_digest]
    last = max(found, key=lambda one: one.seq, default=None)
    return Report(
        tuple(problems), tuple(entries), last, tuple(anchors), tuple(unchained), _strays(records, chained)
    )


def check_record(records: Path, run: str) -> list[Problem]:
    """Return what is wrong with one record, beside the chain as a whole."""
    return list(_record(records, run, Chain(records).entries(), {}))


def _read_chain(lines: Sequence[bytes]) -> tuple[list[Entry], list[Problem]]:
    """The entries that can be read, and every place where one does not follow from the one before."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    before: Entry | None = None
    seen: set[int] = set()
    for number, line in enumerate(lines, start=1):
        place = f"line {number}"
        try:
            entry = Entry.parse(line)
        except ValueError:
            what = "changed: not an entry" if line.endswith(b"\n") else "cut: its end is missing"
            problems.append(Problem(FILE_NAME, f"{place}: {what}"))
            before = None
            continue
        expected = before.seq + 1 if before else number - 1
        if entry.seq != expected:
            problems.append(Problem(FILE_NAME, f"{place}: {_out_of_order(entry.seq, expected, seen)}"))
        elif entry.previous != (before.digest if before else None) and (before or number == 1):
            what = "this entry or the one before it was changed, inserted or taken out"
            problems.append(Problem(FILE_NAME, f"{place} ({entry.event} {entry.run}): broken: {what}"))
        seen.add(entry.seq)
        entries.append(entry)
        before = entry
    return entries, problems


def _out_of_order(seq: int, expected: int, seen: set[int]) -> str:
    if seq in seen:
        return f"inserted: entry {seq} is there twice"
    if seq < expected:
        return f"reordered: entry {seq} stands after entry {expected - 1}"
    gap = f"entry {expected}" if seq == expected + 1 else f"entries {expected} to {seq - 1}"
    return f"cut or reordered: {gap} missing before entry {seq}"


def _histories(entries: Sequence[Entry]) -> Iterator[Problem]:
    """Runs that did not open once and then close once; paths that no run has."""
    events: dict[str, list[str]] = {}
    for one in entries:
        events.setdefault(one.run, []).append(one.event)
    for run, found in events.items():
        if not is_run(run):
            yield Problem(FILE_NAME, f"inserted: {run} is not the path of a run")
        elif found == [OPENED]:
            yield Problem(run, "opened, never closed: the run died, or is still going on")
        elif found != [OPENED, CLOSED]:
            yield Problem(FILE_NAME, f"entries of {run}: {', '.join(found)}; expected: opened, closed")


def _record(
    records: Path, run: str, entries: Sequence[Entry], closed_by_content: Mapping[str, str]
) -> Iterator[Problem]:
    folder = records / run
    if folder.is_symlink() or not folder.is_dir():
        withheld = (folder.parent / WITHHELD / folder.name).is_dir()
        yield Problem(run, "withheld: a secret was found in it" if withheld else "missing: the whole record")
        return
    content = {one.event: one.content for one in entries if one.run == run}
    if OPENED in content and (what := _compared(folder / OPENING, content[OPENED])):
        yield Problem(f"{run}/{OPENING}", what)
    if CLOSED not in content:
        return
    path = folder / CHECKSUMS
    if what := _compared(path, content[CLOSED]):
        other = None if what == "missing" else closed_by_content.get(digest_of_file(path))
        yield Problem(f"{run}/{CHECKSUMS}", f"swapped: it is that of {other}" if other else what)
    listed = _checksums(path)
    there = files_of(folder)
    for name in sorted(listed.keys() | there.keys()):
        # The chain names the opening's digest as well, and that one was compared above.
        if name == OPENING and name in there and _compared(there[name], content.get(OPENED, "")):
            continue
        if name not in listed:
            yield Problem(f"{run}/{name}", "extra: not among the checksums")
        elif what := _compared(folder / name, listed[name]):
            yield Problem(f"{run}/{name}", what)


def _compared(path: Path, digest: str) -> str:
    """What is wrong with a file; empty if it has this digest."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            return "changed: not a file"
        return "" if digest_of_file(path) == digest else "changed"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _checksums(path: Path) -> dict[str, str]:
    """The digests by file name; nothing when they are unusable, which their own digest tells."""
    try:
        files: Any = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name: digest for name, digest in files.items() if _is_inside(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _claims(folder: Path) -> str:
    """The file by which a folder outside the chain claims to be a record of it; empty if none does."""
    for name in (CHECKSUMS, RECORD, OPENING):
        if (folder / name).exists():
            return name
    try:
        run: Any = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return RUN if run["mode"] == "apply" else ""
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return RUN


def _run_folders(records: Path) -> list[str]:
    """Everything at the depth of a run's folder."""
    return sorted(
        path.relative_to(records).as_posix()
        for path in records.glob("*/*/*")
        if path.name != WITHHELD and (path.is_dir() or path.is_symlink())
    )


def _strays(records: Path, chained: Collection[str]) -> tuple[str, ...]:
    """What is no run's and not ours to keep between the runs: files, and withheld folders of no record."""
    files = (path for depth in ("*", "*/*", "*/*/*") for path in records.glob(depth) if not path.is_dir())
    found = [path for path in files if path.suffix != ".lock" and path.name not in OURS]
    found += [
        path
        for path in records.glob(f"*/*/{WITHHELD}/*")
        if (path.parent.parent / path.name).relative_to(records).as_posix() not in chained
    ]
    names = (path.relative_to(records).as_posix() for path in found if not path.is_symlink())
    return tuple(sorted(name for name in names if not name.startswith(f"{SIGNATURES}/")))


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def is_head(text: str) -> bool:
    """Whether a text is a digest as ``runbook records head`` prints it."""
    return DIGEST.fullmatch(text) is not None


def is_run(name: str) -> bool:
    """Whether a text names a run's folder, and nothing outside of the records folder."""
    return len(PurePosixPath(name).parts) == 3 and _is_inside(name)
