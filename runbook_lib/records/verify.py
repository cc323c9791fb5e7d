"""Whether records are unchanged since they were closed. Reads only; needs no secret.

The chain is consistent by itself, but anyone who can write to the folder can recreate all of it. So
nothing is called verified without something from elsewhere: a head that was kept, or the signature of one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..plain_files import LIMIT, SMALL, NotPlainError, opened, parse_mapping, read, read_mapping
from . import journal, living
from .anchor import ANCHORS, SETTINGS
from .chain import ADOPTED, CLOSED, FILE_NAME, FILES, OPENED, Entry, digest_of, digest_of_file
from .chain_reading import OWN_FILES, by_event, histories, is_inside, is_run, open_runs, read_chain
from .disposed import DISPOSED_FILE, leftovers
from .events import DISPOSED
from .formats import newer
from .needs import ATTRIBUTES
from .ownership import OWNERSHIP
from .problems import (
    CHANGED,
    Anchor,
    Code,
    Problem,
    Report,
    damage_problem,
    file_problem,
    not_plain_problem,
    unread_problem,
)
from .result import CHECKSUMS
from .reviews import unreviewed
from .run_folder import OPENING, RECORD, RUN, contents, is_withheld, refuse_links, withheld_from
from .settling import never_opened

EXTRA = "extra: the chain has no entry for this record"
_NO_CHAIN = "missing or empty: there are closed records, but no entries for them"
#: Modes in which nothing is written at the vendors, so that a run of one has no journal.
READING = ("plan", "verify")
#: ``site/tenant/run id``.
RUN_DEPTH = 3
SIGNATURES = "signatures"
#: A signed head, and its signature.
SIGNATURE = re.compile(r"\d{6,}-[0-9a-f]{8}\.head(\.sig)?", re.ASCII)
#: The folder and the names of JupyterLab's copies of the files that it opens.
CHECKPOINTS, CHECKPOINT = ".ipynb_checkpoints", "-checkpoint"
#: Of batches: what was asked for, and pages over their runs; nothing of a record is there.
BATCHES = "_batches"
#: Made from the records, rewritten by every run.
INDEX = "index.html"
#: Of locks, and of the names of those that hold them.
OWN_SUFFIXES = (".lock", ".holder")
#: Expected files between the runs, besides locks: the chain, its page, the heads that were kept elsewhere
#: and the command for it, the index of the journals, and what is remembered about signing in.
OURS = frozenset({FILE_NAME, INDEX, SETTINGS, ANCHORS, ATTRIBUTES, OWNERSHIP, "sign-in-refused.json"})

#: The chain's entries, and what is wrong with it.
Chained = tuple[list[Entry], list[Problem]]
#: The content of runs' ``opening.json``, by run.
Openings = Mapping[str, Mapping[str, Any]]


def verify_records(
    records: Path,
    anchors: Sequence[Anchor] = (),
    known: Sequence[Problem] = (),
    since: str | None = None,
    judge: Callable[[Openings], Iterable[Problem]] = lambda _: (),
    chain: Chained | None = None,
) -> Report:
    """Compare the records of a folder with their checksums, the chain and heads from elsewhere.

    Parameters
    ----------
    anchors
        Heads that somebody kept elsewhere or signed.
    known
        Problems that were found on the way to the heads.
    since
        A head up to which somebody has verified all of it before: only what came after it is looked at,
        beside the chain itself, which is read as a whole.
    judge
        Called with the openings that were read; returns what is wrong with the runs' approvals.
    chain
        What ``read_chain`` returned, if it has been read.
    """
    entries, problems = chain or read_chain(records)
    by_run = by_event(entries)
    runs, strays, unreadable = _survey(records)
    if not entries and not problems and any(os.path.lexists(records / run / CHECKSUMS) for run in runs):
        problems = [Problem(FILE_NAME, _NO_CHAIN, Code.MISSING)]
    # An entry by a newer runbook may concern any run, and may be any head's entry.
    has_newer = any(problem.code is Code.NEWER for problem in problems)
    is_read = (bool(entries) or not problems) and not has_newer
    going_on = [run for run in open_runs(entries) if is_run(run) and living.is_going_on(records / run)]
    skipped, looked_at = skipped_since(entries, since), entries
    if since is not None:
        anchors = [*anchors, Anchor(since, "the head to start from")]
        last_seen = _seq(entries, since)
        looked_at = [entry for entry in entries if entry.run not in skipped or entry.seq > last_seen]
    removed = {str(entry.run): entry for entry in entries if entry.event == DISPOSED and is_run(entry.run)}
    # A newer line may close what seems to be open.
    unknown = open_runs(entries) if has_newer else []
    problems += [*histories(entries, [*going_on, *unknown]), *_events(records, looked_at, removed), *known]
    closed_by_content = {one.content: str(one.run) for one in entries if one.event == CLOSED}
    openings: dict[str, dict[str, Any]] = {}
    problems += [one for run, entry in removed.items() for one in _disposed(records, run, entry)]
    for run in sorted(filter(is_run, by_run.keys() - removed.keys() - skipped)):
        problems += _record(records, run, by_run[run], closed_by_content, openings)
    adopted = {entry.run: entry for entry in entries if entry.event == ADOPTED}
    problems += [
        one
        for run, entry in adopted.items()
        if run not in removed and run not in skipped
        for one in _adopted(records, entry)
    ]
    problems += judge(openings)
    unchained, reading, unopened, older = list[str](), list[str](), list[str](), list[str]()
    for run in runs:
        if run in by_run or run in adopted:
            continue
        try:
            if never_opened(records, records / run):
                unopened.append(run)
                continue
            told = read_mapping(records / run / RUN)
            if claim := _claim({*os.listdir(records / run)}, told):
                problems += [Problem(f"{run}/{claim}", EXTRA, Code.EXTRA)] if is_read else []
                continue
            unchained.append(run)
            if told.get("mode") in READING:
                reading.append(run)
            elif os.path.lexists(records / run / journal.FILE_NAME):
                older.append(run)
        except OSError as error:
            unreadable.append(unread_problem(run, error))
    # A folder that is a link, or cannot be read, is named once, whatever the chain has below it.
    problems = list(dict.fromkeys([*problems, *unreadable]))
    # The digest of the last entry does not cover what follows a break in the chain.
    whole = not any(one.path == FILE_NAME and one.code is not Code.NEWER for one in problems)
    by_digest = {one.digest: one for one in entries} if whole else {}
    for anchor in anchors:
        if anchor.digest in by_digest:
            continue
        head = f"{anchor.source}, {anchor.digest}"
        if has_newer and whole:
            problems.append(Problem(FILE_NAME, f"{head}: it may belong to a newer entry", Code.NEWER))
        else:
            what = f"cut or recreated: {head}, is not in it"
            problems.append(Problem(FILE_NAME, what, Code.UNKNOWN_HEAD))
    found = [by_digest[anchor.digest] for anchor in anchors if anchor.digest in by_digest]
    last = max(found, key=lambda one: one.seq, default=None)
    named = {one.path for one in problems}
    chained = {entry.file for entry in entries}
    strays = [one for one in strays if one not in named | chained and not _is_kept(one, by_run)]
    return Report(
        tuple(problems),
        tuple(entries),
        last,
        tuple(anchors),
        tuple(unchained),
        tuple(sorted(strays)),
        tuple(reading),
        tuple(unopened),
        tuple(going_on),
        tuple(older),
        tuple(unreviewed(entries, openings)),
        tuple(removed),
        tuple(run for run in by_run if run in skipped),
    )


def verify_record(records: Path, run: str, entries: Sequence[Entry]) -> list[Problem]:
    """Return what is wrong with one record, beside the chain as a whole."""
    own = [entry for entry in entries if entry.run == run]
    if removed := next((entry for entry in own if entry.event == DISPOSED), None):
        return list(_disposed(records, run, removed))
    if digests := by_event(own).get(run):
        return list(_record(records, run, digests, {}, {}))
    return [problem for entry in own if entry.event == ADOPTED for problem in _adopted(records, entry)]


def read_record(
    records: Path, run: str, digests: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """Return ``opening.json`` and ``record.json`` of a record, and any problems with their digests.

    Unreadable files are empty; so is ``record.json`` while the record is open, because no digest covers
    it yet. ``digests`` are those of ``by_event``.
    """
    folder, problems = records / run, list[Problem]()

    def mapping(name: str, digest: object) -> dict[str, Any]:
        """The file's content as far as it can be read, whatever is wrong with it."""
        try:
            content = read(folder / name)
        except OSError as error:
            problems.append(unread_problem(f"{run}/{name}", error))
            return {}
        told = parse_mapping(content)
        if digest_of(content) != digest:
            problems.append(Problem(f"{run}/{name}", CHANGED, Code.CHANGED))
        elif later := newer(told):
            problems.append(Problem(f"{run}/{name}", later, Code.NEWER))
        return told

    try:
        refuse_links(records, run)
    except NotPlainError as error:
        return {}, {}, [not_plain_problem(records, error)]
    opening = mapping(OPENING, digests.get(OPENED)) if OPENED in digests else {}
    if CLOSED not in digests:
        return opening, {}, problems
    listed = mapping(CHECKSUMS, digests[CLOSED]).get("files")
    return opening, mapping(RECORD, listed.get(RECORD) if isinstance(listed, dict) else None), problems


def run_folders(records: Path) -> list[str]:
    """Return the names of all runs' folders, sorted; links are not followed."""
    return _survey(records)[0]


def unopened(records: Path, chained: Collection[str]) -> list[str]:
    """Return the folders of runs that died before they were in the chain."""
    found = []
    for run in run_folders(records):
        with suppress(OSError):  # unknown for a folder that cannot be read
            if run not in chained and never_opened(records, records / run):
                found.append(run)
    return found


def skipped_since(entries: Sequence[Entry], since: str | None) -> set[str]:
    """Return the runs of which every entry that a record has is at a head or before it."""
    last = _seq(entries, since)
    runs = {str(entry.run) for entry in entries if entry.seq <= last and entry.event == CLOSED}
    return runs - {str(entry.run) for entry in entries if entry.seq > last and entry.event in FILES}


def _seq(entries: Sequence[Entry], head: str | None) -> int:
    return next((entry.seq for entry in entries if entry.digest == head), -1) if head else -1


def _disposed(records: Path, run: str, entry: Entry) -> Iterator[Problem]:
    """What is wrong with what stays of a record that was removed by rule."""
    told = read_mapping(records / entry.file)  # compared with the other files of events
    name = f"{run}/{DISPOSED_FILE}"
    try:
        refuse_links(records, run)
        if problem := file_problem(records / run / DISPOSED_FILE, name, str(told.get("disposed"))):
            yield problem
        for left in leftovers(records / run):
            what = "still there: its record was removed by rule; runbook records dispose finishes that"
            yield Problem(f"{run}/{left}", what, Code.NOT_REMOVED)
    except NotPlainError as error:
        yield not_plain_problem(records, error)
    except OSError as error:
        yield unread_problem(run, error)


def _events(records: Path, entries: Sequence[Entry], removed: Collection[str] = ()) -> Iterator[Problem]:
    """What is wrong with the files of events, also of those that this runbook does not know."""
    for entry in entries:
        if entry.event in FILES:
            continue  # compared with all other files of their record
        if entry.run in removed and entry.file.startswith(f"{entry.run}/"):
            continue  # removed with its record
        if not is_inside(entry.file):
            yield Problem(FILE_NAME, f"inserted: {entry.file} is not a file of the records", Code.HISTORY)
            continue
        try:
            # A use that names another file than its own is reported with the histories.
            own = entry.event in OWN_FILES and is_run(entry.run)
            name = f"{entry.run}/{OWN_FILES[entry.event]}" if own else entry.file
            refuse_links(records, str(PurePosixPath(name).parent))
            problem = file_problem(records / name, name, entry.content)
        except NotPlainError as error:
            problem = unread_problem(name, error)
        if problem:
            yield problem


def _adopted(records: Path, entry: Entry) -> Iterator[Problem]:
    """What is wrong with an adopted folder, according to the digests in its entry's file."""
    run = str(entry.run)
    if not is_run(entry.run):
        yield Problem(FILE_NAME, f"inserted: {run} is not the path of a run", Code.HISTORY)
        return
    folder = records / run
    listed = _checksums(read_mapping(records / entry.file))
    try:
        refuse_links(records, run)
        there = {*contents(folder)[0]} if folder.is_dir() else set[str]()
        for name in sorted(listed.keys() | there):
            if name not in listed:
                if not _is_jupyters_copy(folder, name, listed):
                    yield Problem(f"{run}/{name}", "extra: not among the files that were adopted", Code.EXTRA)
            elif problem := file_problem(f"{folder}/{name}", f"{run}/{name}", listed[name]):
                yield problem
    except NotPlainError as error:
        yield not_plain_problem(records, error)
    except OSError as error:
        yield unread_problem(run, error)


def _record(
    records: Path,
    run: str,
    contents_by_event: Mapping[str, str],
    closed_by_content: Mapping[str, str],
    openings: dict[str, dict[str, Any]],
) -> Iterator[Problem]:
    """What is wrong with a record, according to the digests of its opening and closing in the chain.

    The opening that was read is added to ``openings``, which saves reading it again.
    """
    folder = records / run
    try:
        refuse_links(records, run)
        if not folder.is_dir():
            if withheld_from(folder):
                yield Problem(run, "withheld: a secret was found in it", Code.WITHHELD)
            else:
                yield Problem(run, "missing: the whole record", Code.MISSING)
            return
        yield from _files(folder, run, contents_by_event, closed_by_content, openings)
    except NotPlainError as error:
        yield not_plain_problem(records, error)
    except OSError as error:
        place = Path(error.filename or folder)
        yield unread_problem(place.relative_to(records).as_posix(), error)


def _files(
    folder: Path,
    run: str,
    contents_by_event: Mapping[str, str],
    closed_by_content: Mapping[str, str],
    openings: dict[str, dict[str, Any]],
) -> Iterator[Problem]:
    opened = contents_by_event.get(OPENED)
    opening_differs = None
    if opened is not None:
        name = f"{run}/{OPENING}"
        try:
            content = read(folder / OPENING)
            openings[run] = parse_mapping(content)
            if digest_of(content) != opened:
                opening_differs = damage_problem(name, content, opened)
        except OSError as error:
            opening_differs = unread_problem(name, error)
    if opening_differs:
        yield opening_differs
    if CLOSED not in contents_by_event:
        return
    closed, name = contents_by_event[CLOSED], f"{run}/{CHECKSUMS}"
    try:
        content = read(folder / CHECKSUMS)
        digest, told = digest_of(content), parse_mapping(content)
    except OSError as error:
        content, digest, told = b"", closed, {}
        yield unread_problem(name, error)
    if digest != closed:
        damaged = damage_problem(name, content, closed)
        other = closed_by_content.get(digest) if damaged.code is Code.CHANGED else None
        yield replace(damaged, what=f"swapped: it is that of {other}") if other else damaged
        if damaged.code is Code.POINTER:  # what the record has is in the file that is not there
            return
    elif later := newer(told):
        yield Problem(name, later, Code.NEWER)
        return
    listed = _checksums(told)
    copied = {**listed, CHECKSUMS: closed}
    names, empty = contents(folder)
    there = {*names} - {CHECKSUMS}
    for name in sorted(listed.keys() | there):
        # The chain names the opening's digest as well, and that one was compared above.
        if name == OPENING and name in there and (opening_differs or listed.get(name) == opened):
            continue
        if name not in listed:
            if not _is_jupyters_copy(folder, name, copied):
                yield Problem(f"{run}/{name}", "extra: not among the checksums", Code.EXTRA)
        elif problem := file_problem(f"{folder}/{name}", f"{run}/{name}", listed[name]):
            yield problem
    for name in sorted({*empty} - copied.keys()):
        yield Problem(f"{run}/{name}", "extra: an empty folder", Code.EXTRA)


def _is_jupyters_copy(folder: Path, name: str, listed: Mapping[str, str]) -> bool:
    """Whether a file is the copy that JupyterLab makes of a record's file when somebody opens it there."""
    path = PurePosixPath(name)
    original = path.stem.removesuffix(CHECKPOINT) + path.suffix
    if path.as_posix() != f"{CHECKPOINTS}/{Path(original).stem}{CHECKPOINT}{path.suffix}":
        return False
    try:
        return listed.get(original) == digest_of_file(folder / name)
    except OSError:
        return False


def _checksums(told: Mapping[str, Any]) -> dict[str, str]:
    """The digests by file name; empty if they are unusable, which their own digest reveals."""
    files = told.get("files")
    if not isinstance(files, dict):
        return {}
    return {name: digest for name, digest in files.items() if is_inside(name)}


def _claim(names: Collection[str], told: Mapping[str, Any]) -> str:
    """The file by which a folder outside the chain claims to be a record of it; empty if none does.

    ``names`` are those of its files, ``told`` is what the run says about itself.
    """
    for name in (CHECKSUMS, RECORD, OPENING):
        if name in names:
            return name
    if RUN not in names:
        return ""
    # A run that only reads has no journal: whatever this one says, it wrote.
    return "" if told.get("mode") in READING and journal.FILE_NAME not in names else RUN


def _survey(records: Path) -> tuple[list[str], list[str], list[Problem]]:
    """The folders of runs; unexpected files between them; problems with what cannot be read.

    Links are not followed, because the files behind one may be anybody's.
    """
    runs: list[str] = []
    strays: list[str] = []
    problems: list[Problem] = []
    signed: set[str] = set()

    def look_at(folder: str, depth: int) -> None:
        try:
            entries = list(os.scandir(records / folder))
        except FileNotFoundError:
            return
        except OSError as error:
            if depth > RUN_DEPTH:  # withheld files are for their owner only
                strays.append(folder)
            else:
                problems.append(unread_problem(folder or ".", error))
            return
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                sound = entry.is_file(follow_symlinks=False)
                if sound and folder == SIGNATURES and SIGNATURE.fullmatch(entry.name):
                    signed.add(entry.name)
                elif not sound or folder == SIGNATURES or not _is_ours(Path(entry.path)):
                    strays.append(name)
            elif name == BATCHES:
                continue
            elif (entry.name.startswith(".") and entry.name.endswith(OWN_SUFFIXES)) or entry.name == INDEX:
                strays.append(name)
            elif depth == RUN_DEPTH and not is_withheld(entry.name):
                runs.append(name)
            elif folder == SIGNATURES or depth > RUN_DEPTH:
                strays.append(name)
            else:
                look_at(name, depth + 1)

    look_at("", 1)
    heads = {one.removesuffix(".sig") for one in signed}
    whole = {name for one in heads if {one, f"{one}.sig"} <= signed for name in (one, f"{one}.sig")}
    return sorted(runs), [*strays, *(f"{SIGNATURES}/{one}" for one in signed - whole)], problems


def _is_kept(name: str, chained: Mapping[str, object]) -> bool:
    """Whether a name between the runs is that of a withheld record that the chain has."""
    path = PurePosixPath(name)
    withheld = len(path.parts) == RUN_DEPTH + 1 and is_withheld(path.parent.name)
    return withheld and (path.parent.parent / path.name).as_posix() in chained


def _is_ours(path: Path) -> bool:
    """Whether a file between the runs is an expected one that can be read: kept, generated, or a lock."""
    if path.name not in OURS and not path.name.endswith(OWN_SUFFIXES):
        return False
    if path.name == FILE_NAME:
        return True  # checked separately
    try:
        with opened(path, LIMIT if path.name in (INDEX, OWNERSHIP) else SMALL):
            return True
    except FileNotFoundError:
        return True  # the name of a lock's holder, gone with the lock
    except OSError:
        return False
