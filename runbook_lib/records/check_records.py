#!/usr/bin/env python3
"""Check change records: a records folder, an archive of a year, or the copy of one record.

Needs Python 3.8 or newer alone, and ssh-keygen (OpenSSH) for signatures. Reads only. FORMAT.md says how
records are made, and what statuses, codes and fields mean. Exit status: 0 nothing is wrong, 1 something is,
3 usage.

    python3 check_records.py FOLDER [--head sha256:...] [--allowed-signers FILE --identity NAME] [--json]
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
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
HEAD = re.compile(r"sha256:[0-9a-f]{64}")
#: What a run leaves that dies before the chain knows it, also as files that were being written.
BEGUN = [OPENING, "used.json", "approved.plan.json", "approved.plan.json.sig", "approval.json"]
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
NAMESPACES = {"head": "portsip-twilio-runbook", "approval": "runbook-approval"}


class NotPlain(OSError):
    """A link, a folder or a device in the place of a file."""


class Checked:
    """What was found: problems by path and code, runs in lists, and the last entry that something proves."""

    def __init__(self, folder):
        self.folder = folder
        self.problems = {}
        self.notes = []
        self.entries = []
        self.vouched = None
        self.going_on, self.removed, self.never_opened, self.outside = [], [], [], []
        copy = self.mapping(COPY) if os.path.lexists(self.path(COPY)) else {}
        #: Where the folders of runs are; None: each under its own name, and all of them are here.
        self.folders = copy.get("folders") if isinstance(copy.get("folders"), dict) else None

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

    def has(self, code):
        return any(found == code for _, found in self.problems)

    def read(self, name):
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
        with open(path, "rb") as file:
            return file.read()

    def mapping(self, name):
        try:
            found = json.loads(self.read(name))
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
    return is_inside(name) and len([part for part in name.split("/") if part]) == 3


def check_chain(checked):
    try:
        content = checked.read(CHAIN)
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
    before = None
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
        elif number == 1 and checked.folders is not None:
            pass  # the copy of one record begins later
        elif entry["seq"] != number - 1 or (number == 1 and entry["previous"] is not None):
            checked.problem(CHAIN, "broken-chain", "line %d: out of order" % number)
        checked.entries.append(entry)
        before = entry


def check_histories(checked):
    events = {}  # type: dict
    for entry in checked.entries:
        if entry["event"] in FILES:
            events.setdefault(entry["run"], []).append(entry["event"])
    for run, found in events.items():
        if not is_run(run):
            checked.problem(CHAIN, "history", "%s is not a run" % run)
        elif found == ["opened"]:
            if has(checked, run) and is_going_on(checked.path(place_of(checked, run))):
                checked.going_on.append(run)
            elif has(checked, run):
                checked.problem(run, "not-ended", "begun, not ended")
        elif found != ["opened", "closed"] and checked.folders is None:
            checked.problem(CHAIN, "history", "entries of %s: %s" % (run, ", ".join(found)))


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
        if not is_inside(entry["file"]):
            checked.problem(CHAIN, "history", "%s is not a file of the records" % entry["file"])
            continue
        name = entry["file"]
        if checked.folders is not None and entry["run"] in checked.folders:
            name = name.replace("%s/" % entry["run"], "%s/" % place_of(checked, entry["run"]), 1)
        elif checked.folders is not None and not os.path.lexists(checked.path(name)):
            continue  # of a record that this copy does not have
        checked.compare(name, entry["content"], entry["file"])


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
        elif not is_jupyters_copy(checked, place, name, listed):
            checked.problem(shown, "extra", "not among the checksums")
    for name in empty:
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
        elif not broken and not checked.has("newer"):
            checked.problem("%s/%s" % (run, claim), "extra", "the chain has no entry of this record")


def kept_heads(checked):
    """The heads that anchors.jsonl says were kept elsewhere; other lines are skipped."""
    try:
        lines = checked.read(ANCHORS).splitlines() if checked.folders is None else []
    except OSError:
        lines = []
    for line in lines:
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict) and told.get("format") == 1 and isinstance(told.get("head"), str):
            yield told["head"]


def check_heads(checked, heads, allowed_signers, identities):
    digests = {entry["digest"]: entry for entry in checked.entries}
    whole = not any(path == CHAIN and code != "newer" for path, code in checked.problems)
    by_digest = digests if whole else {}
    wanted = list(heads) + [head for head in kept_heads(checked) if head not in digests]
    if allowed_signers:
        wanted += signed_heads(checked, digests, allowed_signers, identities)
    newer = checked.has("newer")
    for head in wanted:
        if head in by_digest:
            continue
        if newer and whole:
            checked.problem(CHAIN, "newer", "%s may belong to a newer entry" % head)
        else:
            checked.problem(CHAIN, "unknown-head", "cut or rewritten: %s is not in it" % head)
    vouched = [by_digest[head] for head in wanted if head in by_digest]
    checked.vouched = max(vouched, key=lambda entry: entry["seq"], default=None)


def signed_heads(checked, digests, allowed_signers, identities):
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
    folder = checked.path(SIGNATURES)
    for name in sorted(os.listdir(folder) if os.path.isdir(folder) else ()):
        if not name.endswith(".head"):
            continue
        path, seq = "%s/%s.sig" % (SIGNATURES, name), int(name.split("-")[0] if name[:6].isdigit() else 0)
        try:
            message = checked.read("%s/%s" % (SIGNATURES, name))
            checked.read(path)
        except OSError as error:
            weak.append((seq, path, str(error)))
            continue
        head, signature = message.decode("utf-8", "replace").strip(), checked.path(path)
        if not HEAD.fullmatch(head):
            weak.append((seq, path[:-4], "not a head"))
            continue
        entry = digests.get(head)
        seq = entry["seq"] if entry else seq
        given = (message, signature, NAMESPACES["head"])
        if not is_signature(*given):
            weak.append((seq, path, "not a signature of this head"))
            continue
        ats = [entry["at"], None] if entry else [None]
        who = [one for one in identities if any(verifies(*given, allowed_signers, one, at) for at in ats)]
        if who:
            valid.append((seq, head))
            checked.notes.append("%s: signed by %s" % (path, who[0]))
        elif any(verifies(*given, always.name, one) for one in identities):
            what = "its key was not valid then and is not valid now"
            weak.append((seq, path, what))
            cut += [(seq, path, head)] if entry is None else []
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


def check_approvals(checked):
    """Whether each signed approval is the one that was used, covers its plan, and was signed validly."""
    removed = {entry["run"] for entry in checked.entries if entry["event"] == "disposed"}
    for entry in checked.entries:
        if entry["event"] != "used" or not has(checked, entry["run"]) or entry["run"] in removed:
            continue
        run, place = entry["run"], place_of(checked, entry["run"])
        try:
            message = checked.read("%s/approval.json" % place)
            lines = checked.read("%s/approval.signers" % place)
        except OSError:
            continue  # older records keep no line of the key
        try:
            used = json.loads(checked.read("%s/used.json" % place))
            plan = json.loads(checked.read("%s/approved.plan.json" % place))
            pair = {"plan": used["plan"], "digest": plan_digest(plan)}
            approved = json.loads(message)["lines"]
            if digest_of(message) != used["statement"]:
                checked.problem(run, "approval", "its statement is not the one that was used")
            elif not any(all(line[key] == pair[key] for key in pair) for line in approved):
                checked.problem(run, "approval", "its statement does not cover approved.plan.json")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            checked.problem(run, "approval", "its approval cannot be read")
            continue
        words = [line.split() for line in lines.decode(errors="replace").splitlines()]
        names = {name.strip('"') for line in words if line for name in line[0].split(",")}
        with tempfile.NamedTemporaryFile() as signers:
            signers.write(lines)
            signers.flush()
            found = []
            for name in sorted(os.listdir(checked.path(place))):
                if re.fullmatch(r"approval\.json(\.\d)?\.sig", name):
                    given = (message, checked.path("%s/%s" % (place, name)), NAMESPACES["approval"])
                    found += [
                        who for who in sorted(names) if verifies(*given, signers.name, who, entry["at"])
                    ]
        if found:
            checked.notes.append(
                "%s: approved by %s (by the line of the key in the record)" % (run, ", ".join(found))
            )
        else:
            checked.problem(run, "approval", "its signature is not valid")


def is_signature(message, signature, namespace):
    """Whether a signature is one of a message, by whatever key."""
    command = ["ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", signature]
    return subprocess.run(command, input=message, capture_output=True).returncode == 0


def verifies(message, signature, namespace, allowed_signers, identity, at=None):
    """Whether a signature is an identity's, with a key that was valid at a time; None: now."""
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed_signers, "-n", namespace]
    command += ["-s", signature, "-I", identity]
    if at:  # in local time, as older versions of OpenSSH know no other
        try:
            when = datetime.fromisoformat(at).astimezone().strftime("%Y%m%d%H%M%S")
        except (ValueError, OverflowError):
            return False
        command.append("-Overify-time=" + when)
    return subprocess.run(command, input=message, capture_output=True).returncode == 0


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
        "notes": checked.notes,
    }


def main(arguments):
    if sys.version_info < (3, 8):
        sys.stderr.write("This needs Python 3.8 or newer; %s is older.\n" % sys.executable)
        return 3
    parser = argparse.ArgumentParser(description="Check change records.")
    parser.add_argument("folder", help="a records folder, an archive, or the copy of one record")
    parser.add_argument("--head", action="append", default=[], help="a head that was kept elsewhere")
    parser.add_argument("--allowed-signers", help="OpenSSH's file of the keys that may sign heads")
    parser.add_argument(
        "--identity",
        action="append",
        help="whose signature counts; if given several times, any of them is enough",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    try:
        given = parser.parse_args(arguments)
    except SystemExit as ended:
        return 3 if ended.code else 0
    if not os.path.isdir(given.folder) or bool(given.allowed_signers) != bool(given.identity):
        parser.print_usage(sys.stderr)
        return 3
    if not all(HEAD.fullmatch(head) for head in given.head):
        parser.print_usage(sys.stderr)
        return 3
    checked = Checked(given.folder)
    check_chain(checked)
    check_histories(checked)
    check_runs(checked)
    check_heads(checked, given.head, given.allowed_signers, given.identity)
    try:
        check_approvals(checked)
    except FileNotFoundError:
        checked.notes.append("approvals were not checked: ssh-keygen is not installed")
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
    upto = " up to entry %d" % found["verified_up_to"] if checked.vouched else ""
    print("%s%s: %d closed records, %d entries" % (found["status"], upto, found["closed"], found["entries"]))
    return 1 if checked.problems else 0


def shown(text):
    """A line in which nothing acts on a terminal."""
    return ascii(text)[1:-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
