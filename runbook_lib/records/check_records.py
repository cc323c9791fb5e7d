#!/usr/bin/env python3
"""Check change records: a records folder, or a copy (the zip of one record, or of a year).

Needs Python 3.8 or newer alone, and ssh-keygen (OpenSSH) for signatures. Reads only. FORMAT.md says how
records are made, and what statuses, codes and fields mean. Exit status: 0 nothing is wrong, 1 something is,
3 usage.

    python3 check_records.py FOLDER [--head sha256:...] [--allowed-signers FILE --identity NAME] [--json]
    python3 check_records.py ZIP [...]               a copy, as it was handed out
    python3 check_records.py --copy FOLDER [...]     the same, unpacked
"""

import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from datetime import datetime

CHAIN, EVENTS, SIGNATURES, COPY = "chain.jsonl", "_events", "signatures", "copy.json"
ANCHORS, BATCHES, WITHHELD = "anchors.jsonl", "_batches", "withheld"
OPENING, CHECKSUMS, RECORD, RUN, JOURNAL = (
    "opening.json",
    "checksums.json",
    "record.json",
    "run.json",
    "journal.jsonl",
)
DISPOSED, LOCK = "disposed.json", ".run.lock"
KEYS = {
    1: ["format", "seq", "at", "event", "run", "content", "previous"],
    2: ["format", "seq", "at", "event", "run", "file", "content", "previous"],
}
FILES = {"opened": OPENING, "closed": CHECKSUMS}
USED = "used.json"
#: Events whose file has this name in the run's folder.
OWN_FILES = {"used": USED}
OWN_FILES.update(FILES)
MIB = 1 << 20
#: The most that a file can have; the chain; a head, a signature or an approval.
LIMIT, CHAIN_LIMIT, SMALL = 64 * MIB, 256 * MIB, 1 << 16
#: The most that a zip may unpack to: 5,000 records of a whole guide have 9 GiB.
UNPACKED = 16384 * MIB
HEAD = re.compile(r"sha256:[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?\+00:00", re.ASCII)
#: A signed head. Its number counts only while its entry is not in the chain.
SIGNED = re.compile(r"(\d{6,18})-.*\.head", re.ASCII)
#: What a run leaves that dies before the chain knows it, also as files that were being written.
BEGUN = [OPENING, USED, "approved.plan.json", "approved.plan.json.sig", "approval.json"]
BEGUN += ["approval.json.sig", "approval.signers", LOCK]
BEGUN += ["approval.json.%d.sig" % number for number in range(2, 10)]
POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?:.*\n)*?oid (sha256:[0-9a-f]{64})\r?\n"
)
VERIFIED, CONSISTENT, DAMAGED = "verified", "consistent, not anchored", "not verified"
NEWER = "not verified: a newer runbook wrote part of it"
#: What the lists of runs are called.
LISTS = {
    "going_on": "going on",
    "removed": "removed by rule",
    "never_opened": "never opened",
    "outside": "not in the chain",
}
NAMESPACES = {"head": "portsip-twilio-runbook", "approval": "runbook-approval", "plan": "runbook-plan"}
#: Of a copy: one record with its part of the chain, or the records of a year with all of it.
ONE_RECORD, ONE_YEAR = "record", "year"


class NotPlain(OSError):
    """A link, a folder or a device in the place of a file, or more than a file can have."""


class Unusable(Exception):
    """What was given cannot be used."""


class NoSsh(Unusable):
    """Signatures cannot be checked here."""


class Checked:
    """What was found: problems by path and code, runs in lists, and the last entry that something proves."""

    def __init__(self, folder, copy=None):
        self.folder = folder
        #: What a copy is of; None: a records folder, in which copy.json means nothing.
        self.copy = copy
        #: Where the folders of a copy's runs are.
        self.folders = copy["folders"] if copy else None
        self.problems = {}
        self.notes = []
        self.entries = []
        self.vouched = None
        self.going_on, self.removed, self.never_opened, self.outside = [], [], [], []

    def is_of(self, kind):
        """Whether this is a copy of a kind."""
        return self.copy is not None and self.copy["kind"] == kind

    def path(self, name):
        return os.path.join(self.folder, *name.split("/"))

    def problem(self, path, code, what):
        self.problems.setdefault((path, code), what)

    def unread(self, path, error):
        """A file that could not be read."""
        code = "unreadable"
        if isinstance(error, FileNotFoundError):
            code = "missing"
        elif isinstance(error, NotPlain):
            code = "not-plain"
        self.problem(path, code, str(error))

    def has_newer_lines(self):
        """Whether a newer runbook wrote lines of the chain: they may be about any run, and be any head's."""
        return (CHAIN, "newer") in self.problems

    def read(self, name, limit=LIMIT):
        """A plain file's content; nothing behind a link is read."""
        path, place = self.folder, []
        for part in name.split("/"):
            place.append(part)
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise NotPlain("a link, which is not followed: " + "/".join(place))
        if not os.path.isfile(path):
            if os.path.lexists(path):
                raise NotPlain("not a file")
            raise FileNotFoundError("missing")
        if os.path.getsize(path) > limit:
            raise NotPlain("larger than a file of its kind can be")
        with open(path, "rb") as file:
            return file.read()

    def mapping(self, name):
        try:
            found = json.loads(self.read(name)) if is_inside(name) else {}
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def compare(self, name, digest, shown=None):
        """Whether a file has a digest; a problem if it has another."""
        try:
            content = self.read(name)
        except OSError as error:
            self.unread(shown or name, error)
            return False
        if digest_of(content) == digest:
            return True
        pointed = POINTER.match(content)
        if pointed and pointed.group(1).decode() == digest:
            self.problem(shown or name, "lfs-pointer", "replaced by a Git LFS pointer")
        elif b"\r\n" in content and digest_of(content.replace(b"\r\n", b"\n")) == digest:
            self.problem(shown or name, "line-ends", "its line endings were changed")
        else:
            self.problem(shown or name, "changed", "changed")
        return False

    def link(self, place):
        """Whether a link is on the way to a folder; it is a problem."""
        part = self.folder
        for name in place.split("/"):
            part = os.path.join(part, name)
            if os.path.islink(part):
                path = os.path.relpath(part, self.folder).replace(os.sep, "/")
                self.problem(path, "not-plain", "a link, which is not followed")
                return True
        return False


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def read_copy(folder):
    """What a copy is of: its kind, its runs with their folders, and its year; Unusable otherwise."""
    told = Checked(folder).mapping(COPY)
    # Older copies do not say their kind, but only that of a year has a year.
    kind, folders = told.get("kind", ONE_YEAR if "year" in told else ONE_RECORD), told.get("folders")
    if told.get("format") != 1 or kind not in (ONE_RECORD, ONE_YEAR):
        raise Unusable("%s is not one that this verifier can read" % COPY)
    if not isinstance(folders, dict) or not folders or (kind == ONE_RECORD and len(folders) > 1):
        raise Unusable("%s does not say of which runs this is a copy" % COPY)
    if not all(is_run(run) and is_inside(place) and place for run, place in folders.items()):
        raise Unusable("%s has an invalid run or folder" % COPY)
    if kind == ONE_YEAR and type(told.get("year")) is not int:
        raise Unusable("%s does not say of which year this is a copy" % COPY)
    return {"kind": kind, "folders": folders, "year": told.get("year")}


def unpack(path, place):
    """Unpack a copy's zip and return its folder; Unusable if it is not such a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            tops = {name.split("/")[0] for name in names}
            if len(set(names)) < len(names) or len(tops) != 1 or not all(map(is_inside, names)):
                raise Unusable("not the zip of a copy: it has a name twice, or more than one folder")
            size = sum(one.file_size for one in archive.infolist())  # no more of a file is unpacked than this
            most = min(UNPACKED, shutil.disk_usage(place).free)
            if size > most:
                what = "too large: it unpacks to %d MiB, and at most %d MiB may be used in %s"
                raise Unusable(what % (size // MIB, most // MIB, tempfile.gettempdir()))
            archive.extractall(place)
    except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise Unusable("not the zip of a copy: %s" % error) from None
    return os.path.join(place, tops.pop())


class NewerFormat(Exception):
    """A line that a newer runbook wrote: it is not damaged."""


def parse(line):
    """An entry of the chain; ValueError unless the line is exactly as the format says."""
    data = json.loads(line)
    if not isinstance(data, dict) or type(data.get("format")) is not int or data["format"] < 1:
        raise ValueError("not an entry")
    if data["format"] not in KEYS:
        raise NewerFormat(data["format"])
    if list(data) != KEYS[data["format"]] or (json.dumps(data) + "\n").encode() != line:
        raise ValueError("not as an entry is written")
    if data["format"] == 1:
        data["file"] = "%s/%s" % (data["run"], FILES[data["event"]])
    texts = [
        data["at"],
        data["event"],
        data["file"],
        data["content"],
        data["previous"] or "",
        data["run"] or "",
    ]
    if type(data["seq"]) is not int or not all(isinstance(text, str) for text in texts):
        raise ValueError("not as an entry is written")
    if data["seq"] < 0 or (data["run"] is None and data["event"] in FILES):
        raise ValueError("not as an entry is written")
    digests = [data["content"]] + [data["previous"]] * (data["previous"] is not None)
    if not TIME.fullmatch(data["at"]) or not all(map(HEAD.fullmatch, digests)):
        raise ValueError("not as an entry is written")
    datetime.fromisoformat(data["at"])
    data["digest"] = digest_of(line)
    return data


def is_inside(name):
    return (
        isinstance(name, str)
        and not name.startswith("/")
        and ".." not in name.split("/")
        and "\0" not in name
    )


def is_run(name):
    return is_inside(name) and len([part for part in name.split("/") if part not in ("", ".")]) == 3


def check_chain(checked):
    try:
        content = checked.read(CHAIN, CHAIN_LIMIT)
    except FileNotFoundError:
        return  # as if it were empty
    except OSError as error:
        checked.unread(CHAIN, error)
        return
    if POINTER.match(content):
        checked.problem(CHAIN, "lfs-pointer", "replaced by a Git LFS pointer")
        return
    if b"\r\n" in content:
        checked.problem(CHAIN, "line-ends", "its line endings were changed")
        content = content.replace(b"\r\n", b"\n")
    before, first = None, 0
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", content), 1):
        try:
            entry = parse(line)
        except NewerFormat as newer:
            checked.problem(
                CHAIN, "newer", "line %d: written by a newer runbook (format %s)" % (number, newer)
            )
            before = None
            continue
        except (ValueError, KeyError, RecursionError):
            checked.problem(CHAIN, "broken-chain", "line %d: not an entry" % number)
            before = None
            continue
        if before is not None:
            if entry["seq"] != before["seq"] + 1:
                checked.problem(CHAIN, "broken-chain", "line %d: out of order" % number)
            elif entry["previous"] != before["digest"]:
                checked.problem(CHAIN, "broken-chain", "line %d does not follow from the one before" % number)
        elif number == 1 and checked.is_of(ONE_RECORD) and begins(checked, entry):
            first = entry["seq"]
        elif entry["seq"] != first + number - 1 or (number == 1 and entry["previous"] is not None):
            checked.problem(CHAIN, "broken-chain", "line %d: out of order" % number)
        checked.entries.append(entry)
        before = entry


def begins(checked, entry):
    """Whether the copy of one record begins with an entry: with the run's opening."""
    return entry["event"] == "opened" and entry["run"] in checked.folders


def check_histories(checked):
    events = {}  # type: dict
    for entry in checked.entries:
        run, event = entry["run"], entry["event"]
        if event in FILES:
            events.setdefault(run, []).append(event)
        if event in OWN_FILES and entry["file"] != "%s/%s" % (run, OWN_FILES[event]):
            checked.problem(CHAIN, "history", "%s of %s names %s" % (event, run, entry["file"]))
    for run, found in events.items():
        if not is_run(run):
            checked.problem(CHAIN, "history", "%s is not a run" % run)
        elif found == ["opened"]:
            if has(checked, run) and is_going_on(checked.path(place_of(checked, run))):
                checked.going_on.append(run)
            elif has(checked, run) and not checked.has_newer_lines():  # a newer line may close it
                checked.problem(run, "not-ended", "begun, not ended")
        elif found != ["opened", "closed"] and (has(checked, run) or checked.is_of(ONE_YEAR)):
            checked.problem(CHAIN, "history", "entries of %s: %s" % (run, ", ".join(found)))
    for run in checked.folders or ():
        if run not in events:
            checked.problem(run, "extra", "the chain has no entry of this record")
    for entry in checked.entries if checked.is_of(ONE_YEAR) else ():
        in_year = entry["at"].startswith("%04d-" % checked.copy["year"])
        if entry["event"] == "closed" and in_year and not has(checked, entry["run"]):
            checked.problem(str(entry["run"]), "missing", "closed in this year, and not in this copy")


def is_going_on(folder):
    """Whether a process holds the lock of a run, as far as this machine can see."""
    try:
        import fcntl

        with open(os.path.join(folder, LOCK)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return False


def has(checked, run):
    """Whether a copy has a run; a records folder has to have each."""
    return checked.folders is None or run in checked.folders


def place_of(checked, run):
    return run if checked.folders is None else str(checked.folders[run])


def check_events(checked, removed):
    for entry in checked.entries:
        if entry["event"] in FILES or (
            entry["run"] in removed and entry["file"].startswith("%s/" % entry["run"])
        ):
            continue
        name = entry["file"]
        if not is_inside(name):
            checked.problem(CHAIN, "history", "%s is not a file of the records" % name)
            continue
        if entry["event"] in OWN_FILES and is_run(entry["run"]):
            name = "%s/%s" % (entry["run"], OWN_FILES[entry["event"]])  # another one is reported
        named = name
        if not has(checked, entry["run"]) and not (
            checked.is_of(ONE_YEAR) and name.startswith("%s/" % EVENTS)
        ):
            continue  # of a record that this copy does not have
        if name.startswith("%s/" % entry["run"]):
            name = place_of(checked, entry["run"]) + name[len(entry["run"]) :]
        checked.compare(name, entry["content"], named)


def contents(folder):
    """The names of all files below a folder, and of its empty folders; links are not followed."""

    def stop(error):
        raise error

    files, folders = [], []
    for path, below, names in os.walk(folder, onerror=stop):
        inside = os.path.relpath(path, folder).replace(os.sep, "/") + "/" if path != folder else ""
        links = [name for name in below if os.path.islink(os.path.join(path, name))]
        files += [inside + name for name in names + links]
        folders += [inside + name for name in below if name not in links]
    return files, [one for one in folders if not any(name.startswith(one + "/") for name in files)]


def is_withheld(name):
    """Whether a folder beside the runs of a tenant has records in which a secret was found."""
    return name == WITHHELD or name.startswith(WITHHELD + "-")


def check_record(checked, run, opened, closed):
    place = place_of(checked, run)
    if checked.link(place):
        return
    if not os.path.isdir(checked.path(place)):
        beside, _, name = place.rpartition("/")
        try:
            near = os.listdir(checked.path(beside))
        except OSError:
            near = []
        places = [checked.path("%s/%s/%s" % (beside, one, name)) for one in near if is_withheld(one)]
        code = "withheld" if any(map(os.path.isdir, places)) else "missing"
        checked.problem(run, code, "%s: the whole record" % code)
        return
    opening_holds = True
    if opened:
        opening_holds = checked.compare("%s/%s" % (place, OPENING), opened, "%s/%s" % (run, OPENING))
    if not closed:
        return
    holds = checked.compare("%s/%s" % (place, CHECKSUMS), closed, "%s/%s" % (run, CHECKSUMS))
    told = checked.mapping("%s/%s" % (place, CHECKSUMS))
    if holds and type(told.get("format")) is int and told["format"] > 1:
        checked.problem("%s/%s" % (run, CHECKSUMS), "newer", "written by a newer runbook")
        return
    if ("%s/%s" % (run, CHECKSUMS), "lfs-pointer") in checked.problems:
        return  # what the record has is in the file that is not there
    listed = listed_in(told)
    copied = dict(listed, **{CHECKSUMS: closed})
    try:
        files, empty = contents(checked.path(place))
    except OSError as error:
        checked.unread(run, error)
        return
    for name in sorted(set(listed) | set(files) - {CHECKSUMS}):
        shown = "%s/%s" % (run, name)
        if name == OPENING and name in files and (not opening_holds or listed.get(name) == opened):
            continue  # the chain has its digest as well
        if name in listed:
            checked.compare("%s/%s" % (place, name), listed[name], shown)
        elif not is_jupyters_copy(checked, place, name, copied):
            checked.problem(shown, "extra", "not among the checksums")
    for name in set(empty) - set(copied):
        checked.problem("%s/%s" % (run, name), "extra", "an empty folder")


def listed_in(told):
    """The digests by name of checksums, or of an adopted folder's entry."""
    listed = told.get("files")
    if not isinstance(listed, dict):
        return {}
    return {name: digest for name, digest in listed.items() if is_inside(name)}


def is_jupyters_copy(checked, place, name, listed):
    """Whether a file is the copy that JupyterLab makes of a record's file that somebody opened there."""
    found = re.match(r"\.ipynb_checkpoints/([^/]+)-checkpoint(\.[^./]+)\Z", name)
    try:
        digest = digest_of(checked.read("%s/%s" % (place, name))) if found else None
    except OSError:
        return False
    return found is not None and listed.get(found.group(1) + found.group(2)) == digest


def check_adopted(checked, run, entry):
    place, listed = place_of(checked, run), listed_in(checked.mapping(entry["file"]))
    if checked.link(place):
        return
    try:
        folder = checked.path(place)
        files = contents(folder)[0] if os.path.isdir(folder) else []
    except OSError as error:
        checked.unread(run, error)
        return
    for name in sorted(set(listed) | set(files)):
        shown = "%s/%s" % (run, name)
        if name in listed:
            checked.compare("%s/%s" % (place, name), listed[name], shown)
        elif not is_jupyters_copy(checked, place, name, listed):
            checked.problem(shown, "extra", "not among the files that were adopted")


def check_removed(checked, run, entry):
    place = place_of(checked, run)
    checked.removed.append(run)
    if checked.link(place):
        return
    told = checked.mapping(entry["file"])
    checked.compare("%s/%s" % (place, DISPOSED), told.get("disposed"), "%s/%s" % (run, DISPOSED))
    try:
        left = sorted(os.listdir(checked.path(place)))
    except FileNotFoundError:
        return
    except OSError as error:
        checked.unread(run, error)
        return
    for name in left:
        if name != DISPOSED:
            what = "still there, though its record was removed by rule"
            checked.problem("%s/%s" % (run, name), "not-removed", what)


def check_runs(checked):
    digests, adopted, removed = {}, {}, {}  # type: dict, dict, dict
    for entry in checked.entries:
        if is_run(entry["run"]):
            if entry["event"] in FILES:
                digests.setdefault(entry["run"], {})[entry["event"]] = entry["content"]
            elif entry["event"] == "adopted":
                adopted[entry["run"]] = entry
            elif entry["event"] == "disposed":
                removed[entry["run"]] = entry
        elif entry["event"] == "adopted":
            checked.problem(CHAIN, "history", "%s is not a run" % entry["run"])
    check_events(checked, removed)
    for run, entry in removed.items():
        if has(checked, run):
            check_removed(checked, run, entry)
    for run in sorted(digests):
        if run not in removed and has(checked, run):
            check_record(checked, run, digests[run].get("opened"), digests[run].get("closed"))
    for run, entry in adopted.items():
        if run not in removed and has(checked, run):
            check_adopted(checked, run, entry)
    if checked.folders is None:
        check_outside(checked, set(digests) | set(adopted))


def folders_of_runs(checked):
    def below(path, depth):
        try:
            found = sorted(os.scandir(path), key=lambda one: one.name)
        except OSError as error:
            name = os.path.relpath(path, checked.folder).replace(os.sep, "/")
            checked.problem(name, "unreadable", str(error))
            return
        for one in found:
            if not one.is_dir(follow_symlinks=False):
                continue
            if depth < 3 and not (depth == 1 and one.name in (EVENTS, SIGNATURES, BATCHES)):
                yield from below(one.path, depth + 1)
            elif depth == 3 and not is_withheld(one.name):
                yield os.path.relpath(one.path, checked.folder).replace(os.sep, "/")

    return list(below(checked.folder, 1))


def check_outside(checked, known):
    """Folders that claim to be records, and of which the chain knows nothing."""
    found = folders_of_runs(checked)
    closed = [run for run in found if os.path.lexists(checked.path("%s/%s" % (run, CHECKSUMS)))]
    if closed and not checked.entries and not any(path == CHAIN for path, _ in checked.problems):
        checked.problem(CHAIN, "missing", "missing or empty")
    # What a chain that cannot be read says of them is not known.
    broken = any(path == CHAIN for path, _ in checked.problems) and not checked.entries
    for run in found:
        if run in known:
            continue
        try:
            files = contents(checked.path(run))[0]
            told = checked.mapping("%s/%s" % (run, OPENING))
        except OSError as error:
            checked.unread(run, error)
            continue
        begun = all(name in BEGUN or name.startswith(tuple(".%s." % one for one in BEGUN)) for name in files)
        if begun and (OPENING not in files or told.get("run") == run):
            checked.never_opened.append(run)
            continue
        claim = next((name for name in (CHECKSUMS, RECORD, OPENING) if name in files), None)
        mode = checked.mapping("%s/%s" % (run, RUN)).get("mode")
        if claim is None and RUN in files and (mode not in ("plan", "verify") or JOURNAL in files):
            claim = RUN
        if claim is None:
            checked.outside.append(run)
        elif not broken and not checked.has_newer_lines():
            checked.problem("%s/%s" % (run, claim), "extra", "the chain has no entry of this record")


def kept_heads(checked):
    """The heads that anchors.jsonl says were kept elsewhere; other lines are skipped."""
    try:
        lines = checked.read(ANCHORS).splitlines() if checked.copy is None else []
    except FileNotFoundError:
        lines = []
    except OSError as error:
        checked.unread(ANCHORS, error)
        lines = []
    for line in lines:
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            continue
        kinds = {"format": int, "seq": int, "at": str, "head": str}
        known = isinstance(told, dict) and all(type(told.get(key)) is kinds[key] for key in kinds)
        if known and told["format"] == 1:
            yield told["head"]


def check_heads(checked, heads, allowed_signers, identities, revoked=None):
    digests = {entry["digest"]: entry for entry in checked.entries}
    whole = not any(path == CHAIN and code != "newer" for path, code in checked.problems)
    by_digest = digests if whole else {}
    wanted = list(heads) + [head for head in kept_heads(checked) if head not in digests]
    if allowed_signers:
        wanted += signed_heads(checked, digests, allowed_signers, identities, revoked)
    newer = checked.has_newer_lines()
    for head in wanted:
        if head in by_digest:
            continue
        if newer and whole:
            checked.problem(CHAIN, "newer", "%s may belong to a newer entry" % head)
        else:
            checked.problem(CHAIN, "unknown-head", "cut or rewritten: %s is not in it" % head)
    vouched = [by_digest[head] for head in wanted if head in by_digest]
    checked.vouched = max(vouched, key=lambda entry: entry["seq"], default=None)


def signed_heads(checked, digests, allowed_signers, identities, revoked=None):
    """The heads with a valid signature; an invalid one is a problem, unless a valid one covers it."""
    always = tempfile.NamedTemporaryFile()
    with open(allowed_signers, "rb") as file:
        times = {b"valid-after=": b'"19800101"', b"valid-before=": b'"29991231"'}
        always.write(
            re.sub(
                rb'(valid-(?:after|before)=)"?[0-9Z]*"?',
                lambda found: found.group(1) + times[found.group(1).lower()],
                file.read(),
                flags=re.IGNORECASE,
            )
        )
        always.flush()
    valid, weak, cut = [], [], []
    names = []
    if not checked.link(SIGNATURES) and os.path.isdir(checked.path(SIGNATURES)):
        names = sorted(os.listdir(checked.path(SIGNATURES)))
    for name in names:
        if not name.endswith(".head"):
            continue
        path, number = "%s/%s.sig" % (SIGNATURES, name), SIGNED.fullmatch(name)
        seq = int(number.group(1)) if number else 0
        try:
            message = checked.read("%s/%s" % (SIGNATURES, name), SMALL)
            checked.read(path, SMALL)
        except OSError as error:
            weak.append((seq, path, str(error)))
            continue
        head, signature = message.decode("utf-8", "replace").strip(), checked.path(path)
        if not HEAD.fullmatch(head):
            weak.append((seq, path, "its head is none"))
            continue
        entry = digests.get(head)
        seq = entry["seq"] if entry else seq
        given = (message, signature, NAMESPACES["head"])
        if not signing_key(*given):
            weak.append((seq, path, "not a signature of this head"))
            continue
        ats = [entry["at"], None] if entry else [None]
        who = [
            one
            for one in identities
            if any(verifies(*given, allowed_signers, one, at, revoked=revoked) for at in ats)
        ]
        if who:
            valid.append((seq, head))
            checked.notes.append("%s: signed by %s" % (path, who[0]))
        elif any(verifies(*given, always.name, one) for one in identities):
            ever = any(verifies(*given, always.name, one, revoked=revoked) for one in identities)
            what = "its key was not valid then and is not valid now" if ever else "its key is revoked"
            weak.append((seq, path, what))
            cut += [(seq, path, head)] if entry is None and ever else []
        else:
            checked.notes.append("%s: not by anybody whose signature was asked for" % path)
    always.close()
    best = max((seq for seq, _ in valid), default=-1)
    lost = [(seq, path) for seq, path, _ in cut]
    for seq, path, what in weak:
        if seq > best and (seq, path) not in lost:
            checked.problem(path, "signature", what)
    if not valid:
        what = "no signature by %s is valid" % " or ".join(identities)
        checked.problem(SIGNATURES, "no-signature", what)
    return [head for _, head in valid] + [head for seq, _, head in cut if seq > best]


def plan_digest(plan):
    """What the digest of a plan covers: see FORMAT.md."""
    fields = ("step", "setting", "desired", "current", "action", "effect")
    changing = ("create", "update", "replace", "remove")
    slices = [
        {
            "section": part["section"],
            "rows": [{key: row[key] for key in fields} for row in part["rows"] if row["action"] in changing],
        }
        for part in plan["slices"]
    ]
    covered = {key: plan[key] for key in ("target", "tenant", "secrets")}
    covered.update({"format": 1, "slices": slices})
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_of(text.encode())


def line_of(plan):
    """The line of an approval that covers a plan."""
    sections, kind = [part["section"] for part in plan["slices"]], "apply"
    if "90" in sections:
        kind = "roll back " + plan["target"].get("undoes", "").partition(" ")[0]
    elif "91" in sections:
        kind = "retire"
    return {"plan": plan["id"], "digest": plan_digest(plan), "tenant": plan["tenant"], "kind": kind}


def check_approvals(checked, approvers=None, revoked=None):
    """Whether each signed approval is the one that was used, covers its plan, and was signed validly."""
    removed = [entry["run"] for entry in checked.entries if entry["event"] == "disposed"]
    using = [entry["run"] for entry in checked.entries if entry["event"] == "used"]
    ended = []  # approvals, as far as the chain has been read
    for entry in checked.entries:
        run, event = entry["run"], entry["event"]
        if event == "revoked":
            ended.append(checked.mapping(entry["file"]).get("approval"))
        if event not in ("opened", "used") or not is_run(run) or run in removed or not has(checked, run):
            continue
        place = place_of(checked, run)
        if checked.link(place) or not os.path.isdir(checked.path(place)):
            continue  # reported as missing
        opening = checked.mapping("%s/%s" % (place, OPENING))
        try:
            if event == "used":
                check_used(checked, entry, place, opening, ended, approvers, revoked)
            elif run not in using:
                check_unused(checked, entry, place, opening, approvers, revoked)
        except NoSsh as error:
            note = "signatures of approvals were not checked: %s" % error
            if note not in checked.notes:
                checked.notes.append(note)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            checked.problem(run, "approval", "its approval cannot be read")


def check_used(checked, entry, place, opening, ended, approvers, revoked):
    """Check the signed approval that a run used."""
    run = entry["run"]
    if not os.path.lexists(checked.path("%s/%s" % (place, USED))):
        return  # reported as missing
    used = json.loads(checked.read("%s/%s" % (place, USED)))
    message = checked.read("%s/approval.json" % place, SMALL)
    statement = json.loads(message)
    plan = json.loads(checked.read("%s/approved.plan.json" % place))
    line = line_of(plan)
    if digest_of(message) != used["statement"] or statement["id"] != used["approval"]:
        checked.problem(run, "approval", "its statement is not the one that was used")
    elif plan["digest"] != line["digest"] or {key: used[key] for key in line} != line:
        checked.problem(run, "approval", "approved.plan.json is not the plan that was used")
    elif not any(all(one[key] == line[key] for key in line) for one in statement["lines"]):
        checked.problem(run, "approval", "its statement does not cover approved.plan.json")
    elif statement["id"] in ended:
        checked.problem(run, "approval", "its approval had been revoked when it was used")
    elif not approvers and not os.path.lexists(checked.path("%s/approval.signers" % place)):
        checked.notes.append("%s: older, without the lines of its signers' keys: not checked" % run)
    else:
        found = os.listdir(checked.path(place))
        names = [name for name in sorted(found) if re.fullmatch(r"approval\.json(\.[2-9])?\.sig", name)]
        lines = checked.read("%s/approval.signers" % place, SMALL) if not approvers else None
        check_signers(checked, entry, place, opening, message, names, lines, approvers, revoked)


def check_unused(checked, entry, place, opening, approvers, revoked):
    """Check a run that used no signed approval: it may be an older one, or one that needed it."""
    approval, policy = opening.get("approval"), opening.get("policy")
    by = approval.get("by") if isinstance(approval, dict) else None
    needed = isinstance(policy, dict) and policy.get("approval") == "two-person"
    if needed and opening.get("mode") == "apply" and not opening.get("emergency"):
        checked.problem(entry["run"], "approval", "its policy was two-person, and it used no signed approval")
    elif approvers and isinstance(by, dict) and by.get("how") == "ssh signature":
        plan = json.loads(checked.read("%s/approved.plan.json" % place))
        message = ("%s\n" % plan["digest"]).encode()
        names = ["approved.plan.json.sig"]
        check_signers(
            checked, entry, place, opening, message, names, None, approvers, revoked, NAMESPACES["plan"]
        )


def check_signers(
    checked,
    entry,
    place,
    opening,
    message,
    names,
    lines,
    approvers,
    revoked,
    namespace=NAMESPACES["approval"],
):
    """Check who signed an approval: every key that the opening names, and as many people as its policy asked
    for, each with a key that was valid at the time of the entry."""
    if approvers:
        with open(approvers, "rb") as file:
            lines = file.read()
    valid = {}  # type: dict
    with tempfile.NamedTemporaryFile() as signers:
        signers.write(lines)
        signers.flush()
        holders = holders_of(lines)
        for name in names:
            path = "%s/%s" % (place, name)
            checked.read(path, SMALL)
            given = (message, checked.path(path), namespace)
            key = signing_key(*given)
            who = [
                one
                for one in holders.get(key, ())
                if verifies(*given, signers.name, one, entry["at"], revoked)
            ]
            if who:
                valid.setdefault(key, []).extend(who)
    people = []  # type: list
    for who in valid.values():
        if not any({person(one) for one in who} & others for others in people):
            people.append({person(one) for one in who})
    approval, policy = opening.get("approval"), opening.get("policy")
    by = approval.get("by") if isinstance(approval, dict) else None
    named = by.get("key") if isinstance(by, dict) else None
    wanted = named.split(", ") if isinstance(named, str) else []
    count = policy.get("approvers") if isinstance(policy, dict) else 1
    count = max(count if type(count) is int else 1, 1)
    if len(people) < count or not all(key in valid for key in wanted):
        what = "%d of %d signatures hold" % (len(people), max(count, len(wanted)))
        checked.problem(entry["run"], "approval", what)
        return
    names = ", ".join(who[0] for who in valid.values())
    by_what = approvers or "the lines of the keys in the record"
    checked.notes.append("%s: approved by %s (by %s)" % (entry["run"], names, by_what))


def holders_of(lines):
    """The names of each key, by its fingerprint, in a file of allowed signers."""
    found = {}  # type: dict
    for line in lines.decode("utf-8", "replace").splitlines():
        key = re.match(r'\s*("[^"]+"|[^\s#"]\S*)(?=\s).*?\s(?:ssh|ecdsa|sk)-\S+\s+(AAAA[\w+/]+=*)', line)
        if key and "cert-authority" not in line.lower():
            try:
                digest = hashlib.sha256(base64.b64decode(key.group(2))).digest()
            except ValueError:
                continue
            fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
            found.setdefault(fingerprint, []).extend(key.group(1).strip('"').split(","))
    return found


def is_list_of_keys(path):
    """Whether a file is a list of revoked keys: ssh-keygen calls every key revoked if it cannot read it."""
    with open(path, "rb") as file:
        content = file.read()
    lines = [line.strip() for line in content.splitlines()]
    key = re.compile(rb"(?:ssh|ecdsa|sk)-\S+\s+AAAA[A-Za-z0-9+/]+={0,2}(?:\s|\Z)")
    return content.startswith(b"SSHKRL\n\0") or all(
        not line or line.startswith(b"#") or key.search(line) for line in lines
    )


def person(name):
    """What of a name is compared to recognize one person."""
    return name.rpartition("\\")[2].partition("@")[0].partition("+")[0].strip().casefold()


def ssh_keygen(message, *arguments):
    """What ssh-keygen -Y printed; None if it refused."""
    try:
        done = subprocess.run(("ssh-keygen", "-Y") + arguments, input=message, capture_output=True)
    except FileNotFoundError:
        raise NoSsh("ssh-keygen is not here") from None
    if done.returncode and b"No user exists" in done.stderr:
        raise NoSsh("ssh-keygen does not work for an account without an entry in the password file")
    return None if done.returncode else done.stdout.decode("utf-8", "replace")


def signing_key(message, signature, namespace):
    """The fingerprint of the key that a signature of a message was made with; None for no such signature."""
    told = ssh_keygen(message, "check-novalidate", "-n", namespace, "-s", signature)
    found = re.search(r"SHA256:[A-Za-z0-9+/]{43}", told or "")
    return found and found.group()


def verifies(message, signature, namespace, allowed_signers, identity, at=None, revoked=None):
    """Whether a signature is an identity's, with a key that was valid at a time; None: now."""
    command = ["verify", "-f", allowed_signers, "-n", namespace, "-s", signature, "-I", identity]
    if at:  # in local time, as older versions of OpenSSH know no other
        try:
            when = datetime.fromisoformat(at).astimezone().strftime("%Y%m%d%H%M%S")
        except (ValueError, OverflowError):
            return False
        command.append("-Overify-time=" + when)
    if revoked:
        command += ["-r", revoked]
    return ssh_keygen(message, *command) is not None


def status_of(checked):
    codes = {code for _, code in checked.problems}
    if codes:
        return NEWER if codes == {"newer"} else DAMAGED
    return VERIFIED if checked.vouched else CONSISTENT


def as_data(checked):
    """What was found as plain data; FORMAT.md says what each field is."""
    upto = checked.vouched["seq"] if checked.vouched else None
    return {
        "format": 1,
        "status": status_of(checked),
        "problems": [
            {"path": path, "code": code, "what": what}
            for (path, code), what in sorted(checked.problems.items())
        ],
        "head": checked.entries[-1]["digest"] if checked.entries else None,
        "entries": len(checked.entries),
        "closed": sum(entry["event"] == "closed" for entry in checked.entries),
        "verified_up_to": upto,
        "entries_after": None if upto is None else sum(entry["seq"] > upto for entry in checked.entries),
        "going_on": checked.going_on,
        "removed": checked.removed,
        "never_opened": checked.never_opened,
        "outside": checked.outside,
        "copy": checked.copy and {"kind": checked.copy["kind"], "runs": sorted(checked.folders)},
        "notes": checked.notes,
    }


def main(arguments):
    if sys.version_info < (3, 8):
        sys.stderr.write("This needs Python 3.8 or newer; %s is older.\n" % sys.executable)
        return 3
    parser = argparse.ArgumentParser(description="Check change records.")
    parser.add_argument("folder", help="a records folder, or the zip of a copy")
    parser.add_argument("--copy", action="store_true", help="the folder is a copy: a zip that was unpacked")
    parser.add_argument("--head", action="append", default=[], help="a head that was kept elsewhere")
    parser.add_argument("--allowed-signers", help="OpenSSH's file of the keys that may sign heads")
    parser.add_argument(
        "--identity",
        action="append",
        help="whose signature counts; if given several times, any of them is enough",
    )
    parser.add_argument(
        "--approvers", help="OpenSSH's file of the keys that may approve: instead of each record's own"
    )
    parser.add_argument("--revoked", help="keys that never count: public keys, or what ssh-keygen -k made")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    try:
        given = parser.parse_args(arguments)
    except SystemExit as ended:
        return 3 if ended.code else 0
    files = [name for name in (given.allowed_signers, given.approvers, given.revoked) if name]
    if (
        bool(given.allowed_signers) != bool(given.identity)
        or (given.revoked and not given.allowed_signers and not given.approvers)
        or not all(os.path.exists(name) and not os.path.isdir(name) for name in files)
        or not all(map(HEAD.fullmatch, given.head))
    ):
        parser.print_usage(sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as place:
        try:
            return check(given, place)
        except Unusable as error:
            sys.stderr.write("%s\n" % error)
            return 3


def check(given, place):
    """Check what was given, print what was found, and return the exit status."""
    folder, is_copy = given.folder, given.copy
    if os.path.isfile(folder):
        folder, is_copy = unpack(folder, place), True
    elif not os.path.isdir(folder):
        raise Unusable("there is no such folder: %s" % folder)
    if given.revoked and not is_list_of_keys(given.revoked):
        raise Unusable("not a list of revoked keys: %s" % given.revoked)
    checked = Checked(folder, read_copy(folder) if is_copy else None)
    if checked.copy is None and os.path.lexists(checked.path(COPY)):
        checked.notes.append("%s means nothing in a records folder; of a copy, say so: --copy" % COPY)
    check_chain(checked)
    check_histories(checked)
    check_runs(checked)
    check_heads(checked, given.head, given.allowed_signers, given.identity, given.revoked)
    check_approvals(checked, given.approvers, given.revoked)
    found = as_data(checked)
    if given.json:
        print(json.dumps(found, indent=1))
        return 1 if checked.problems else 0
    for problem in found["problems"]:
        print(shown("problem: %s: %s (%s)" % (problem["path"], problem["what"], problem["code"])))
    for name in ("going_on", "removed", "never_opened", "outside"):
        for run in found[name]:
            print(shown("note: %s: %s" % (LISTS[name], run)))
    for note in checked.notes:
        print(shown("note: %s" % note))
    if checked.copy is not None:
        runs = ", ".join(found["copy"]["runs"])
        print(shown("a copy of %s: no other record was looked at" % runs))
    upto = " up to entry %d" % found["verified_up_to"] if checked.vouched else ""
    print("%s%s: %d closed records, %d entries" % (found["status"], upto, found["closed"], found["entries"]))
    return 1 if checked.problems else 0


def shown(text):
    """A line in which nothing acts on a terminal."""
    return ascii(text)[1:-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
