#!/usr/bin/env python3
"""Check change records: a records folder, an archive of a year, or the copy of one record.

Needs Python 3.8 or newer alone, and ssh-keygen (OpenSSH) for signatures. Reads only. FORMAT.md says how
records are made; docs/records.md has the same. Exit status: 0 nothing is wrong, 1 something is, 3 usage.

    python3 check_records.py FOLDER [--head sha256:...] [--allowed-signers FILE --identity NAME]
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
#: What a run leaves that dies before the chain knows it.
BEGINNING = re.compile(r"\.?(opening|used|approval|approved\.plan)\.(json|signers).*|\.run\.lock.*")
NAMESPACES = {"head": "portsip-twilio-runbook", "approval": "runbook-approval"}


class Checked:
    """What was found: problems by path, notes, and the last entry that a head or a signature proves."""

    def __init__(self, folder):
        self.folder = folder
        self.problems = {}
        self.notes = []
        self.entries = []
        self.closed = 0
        self.vouched = None
        copy = self.mapping(COPY) if os.path.lexists(self.path(COPY)) else {}
        #: Where the folders of runs are; None: each under its own name, and all of them are here.
        self.folders = copy.get("folders") if isinstance(copy.get("folders"), dict) else None

    def path(self, name):
        return os.path.join(self.folder, *name.split("/"))

    def problem(self, path, what):
        self.problems.setdefault(path, what)

    def read(self, name):
        """A plain file's content; nothing behind a link is read."""
        path, place = self.folder, []
        for part in name.split("/"):
            place.append(part)
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise OSError("a link, which is not followed: " + "/".join(place))
        if not os.path.isfile(path):
            if os.path.lexists(path):
                raise OSError("not a file")
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
            if digest_of(self.read(name)) == digest:
                return True
            self.problem(shown or name, "changed")
        except OSError as error:
            self.problem(shown or name, str(error))
        return False


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def parse(line):
    """An entry of the chain; ValueError unless the line is exactly as the format says."""
    data = json.loads(line)
    if not isinstance(data, dict) or type(data.get("format")) is not int or data["format"] not in KEYS:
        raise ValueError("not an entry")
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
    except OSError as error:
        checked.problem(CHAIN, str(error))
        return
    before = None
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", content), 1):
        try:
            entry = parse(line)
        except (ValueError, KeyError, RecursionError):
            checked.problem(CHAIN, "line %d: not an entry" % number)
            before = None
            continue
        if before is not None:
            if entry["seq"] != before["seq"] + 1:
                checked.problem(CHAIN, "line %d: out of order" % number)
            elif entry["previous"] != before["digest"]:
                checked.problem(CHAIN, "line %d: does not follow from the line before" % number)
        elif number == 1 and checked.folders is not None:
            pass  # the copy of one record begins later
        elif entry["seq"] != number - 1 or (number == 1 and entry["previous"] is not None):
            checked.problem(CHAIN, "line %d: out of order" % number)
        checked.entries.append(entry)
        before = entry


def check_histories(checked):
    events = {}  # type: dict
    for entry in checked.entries:
        if entry["event"] in FILES:
            events.setdefault(entry["run"], []).append(entry["event"])
    for run, found in events.items():
        if not is_run(run):
            checked.problem(CHAIN, "%s is no run" % run)
        elif found == ["opened"] and has(checked, run):
            if is_going_on(checked.path(place_of(checked, run))):
                checked.notes.append("going on: %s" % run)
            else:
                checked.problem(run, "begun, not ended")
        elif found != ["opened", "closed"] and checked.folders is None and found != ["opened"]:
            checked.problem(CHAIN, "entries of %s: %s" % (run, ", ".join(found)))


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
            checked.problem(CHAIN, "%s is no file of the records" % entry["file"])
            continue
        name = entry["file"]
        if checked.folders is not None and entry["run"] in checked.folders:
            name = name.replace("%s/" % entry["run"], "%s/" % place_of(checked, entry["run"]), 1)
        elif checked.folders is not None and not os.path.lexists(checked.path(name)):
            continue  # of a record that this copy does not have
        checked.compare(name, entry["content"], entry["file"])


def contents(folder):
    """The names of all files below a folder, and of its empty folders; links are not followed."""
    files, empty = [], []
    for path, below, names in os.walk(folder):
        inside = os.path.relpath(path, folder).replace(os.sep, "/") + "/" if path != folder else ""
        links = [name for name in below if os.path.islink(os.path.join(path, name))]
        files += [inside + name for name in names + links]
        if not names and not below and inside:
            empty.append(inside[:-1])
    return files, empty


def check_record(checked, run, opened, closed):
    place = place_of(checked, run)
    folder = checked.path(place)
    part = checked.folder
    for name in place.split("/"):
        part = os.path.join(part, name)
        if os.path.islink(part):
            checked.problem(
                os.path.relpath(part, checked.folder).replace(os.sep, "/"), "a link, which is not followed"
            )
            return
    if not os.path.isdir(folder):
        checked.problem(run, "missing: the whole record")
        return
    opening_holds = True
    if opened:
        opening_holds = checked.compare("%s/%s" % (place, OPENING), opened, "%s/%s" % (run, OPENING))
    if not closed:
        return
    checked.closed += 1
    checked.compare("%s/%s" % (place, CHECKSUMS), closed, "%s/%s" % (run, CHECKSUMS))
    listed = checked.mapping("%s/%s" % (place, CHECKSUMS)).get("files")
    listed = (
        {name: digest for name, digest in listed.items() if is_inside(name)}
        if isinstance(listed, dict)
        else {}
    )
    compare_all(checked, run, place, listed, {CHECKSUMS}, opening_holds and opened)


def compare_all(checked, run, place, listed, beside, opened=None):
    files, empty = contents(checked.path(place))
    for name in sorted(set(listed) | set(files) - beside):
        if name == OPENING and opened and listed.get(name) == opened:
            continue
        if name not in listed:
            if name != OPENING or opened is not False:
                checked.problem("%s/%s" % (run, name), "extra")
        else:
            checked.compare("%s/%s" % (place, name), listed[name], "%s/%s" % (run, name))
    for name in empty:
        checked.problem("%s/%s" % (run, name), "extra: an empty folder")


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
    check_events(checked, removed)
    for run, entry in removed.items():
        if not has(checked, run):
            continue
        place = place_of(checked, run)
        checked.notes.append("removed by rule: %s" % run)
        told = checked.mapping(entry["file"])
        checked.compare("%s/%s" % (place, DISPOSED), told.get("disposed"), "%s/%s" % (run, DISPOSED))
        for name in sorted(contents(checked.path(place))[0]):
            if name != DISPOSED:
                checked.problem("%s/%s" % (run, name), "still there, though its record was removed by rule")
    for run in sorted(digests):
        if run not in removed and has(checked, run):
            check_record(checked, run, digests[run].get("opened"), digests[run].get("closed"))
    for run, entry in adopted.items():
        if run not in removed and has(checked, run):
            listed = checked.mapping(entry["file"]).get("files")
            listed = listed if isinstance(listed, dict) else {}
            compare_all(checked, run, place_of(checked, run), listed, set())
    if checked.folders is None:
        check_outside(checked, set(digests) | set(adopted))


def folders_of_runs(checked):
    def below(path, depth):
        try:
            found = sorted(os.scandir(path), key=lambda one: one.name)
        except OSError:
            return
        for one in found:
            if not one.is_dir(follow_symlinks=False):
                continue
            if depth == 3:
                yield os.path.relpath(one.path, checked.folder).replace(os.sep, "/")
            elif one.name not in (EVENTS, SIGNATURES) and not one.name.startswith("withheld"):
                yield from below(one.path, depth + 1)

    runs = below(checked.folder, 1)
    return [run for run in runs if not run.split("/")[2].startswith("withheld")]


def check_outside(checked, known):
    """Folders that claim to be records, and of which the chain knows nothing."""
    found = folders_of_runs(checked)
    closed = [run for run in found if os.path.lexists(checked.path("%s/%s" % (run, CHECKSUMS)))]
    if closed and not checked.entries:
        checked.problem(CHAIN, "missing or empty")
    for run in found:
        if run in known:
            continue
        files = contents(checked.path(run))[0]
        told = checked.mapping("%s/%s" % (run, OPENING))
        if all(BEGINNING.fullmatch(name) for name in files) and (
            OPENING not in files or told.get("run") == run
        ):
            checked.notes.append("never opened: %s" % run)
            continue
        claim = next((name for name in (CHECKSUMS, RECORD, OPENING) if name in files), None)
        mode = checked.mapping("%s/%s" % (run, RUN)).get("mode")
        if claim is None and RUN in files and (mode not in ("plan", "verify") or JOURNAL in files):
            claim = RUN
        if claim:
            checked.problem("%s/%s" % (run, claim), "extra: the chain has no entry of this record")
        else:
            checked.notes.append("not in the chain: %s" % run)


def check_heads(checked, heads, allowed_signers, identity):
    by_digest = {} if CHAIN in checked.problems else {entry["digest"]: entry for entry in checked.entries}
    vouched = []
    for head in heads:
        if head in by_digest:
            vouched.append(by_digest[head])
        else:
            checked.problem(CHAIN, "cut or rewritten: %s is not in it" % head)
    if allowed_signers:
        holds = False
        for name in sorted(
            os.listdir(checked.path(SIGNATURES)) if os.path.isdir(checked.path(SIGNATURES)) else ()
        ):
            if not name.endswith(".head"):
                continue
            try:
                message = checked.read("%s/%s" % (SIGNATURES, name))
                checked.read("%s/%s.sig" % (SIGNATURES, name))
            except OSError:
                continue
            entry = by_digest.get(message.decode("ascii", "replace").strip())
            signature = checked.path("%s/%s.sig" % (SIGNATURES, name))
            if verifies(
                message, signature, allowed_signers, identity, NAMESPACES["head"], entry and entry["at"]
            ):
                holds = True
                if entry:
                    vouched.append(entry)
                else:
                    checked.problem(CHAIN, "cut or rewritten: a signed head is not in it")
        if not holds:
            checked.problem(SIGNATURES, "missing: no signature by %s holds" % identity)
    checked.vouched = max(vouched, key=lambda entry: entry["seq"], default=None)


def check_approvals(checked):
    """Whether each signed approval was signed with the key that its record keeps the line of."""
    for entry in checked.entries:
        if entry["event"] != "used" or not has(checked, entry["run"]):
            continue
        place = place_of(checked, entry["run"])
        try:
            message, lines = (
                checked.read("%s/approval.json" % place),
                checked.read("%s/approval.signers" % place),
            )
        except OSError:
            continue  # older records keep no line of the key
        words = [line.split() for line in lines.decode(errors="replace").splitlines()]
        names = {name.strip('"') for line in words if line for name in line[0].split(",")}
        with tempfile.NamedTemporaryFile() as signers:
            signers.write(lines)
            signers.flush()
            found = []
            for name in sorted(os.listdir(checked.path(place))):
                if re.fullmatch(r"approval\.json(\.\d)?\.sig", name):
                    path = checked.path("%s/%s" % (place, name))
                    found += [
                        who
                        for who in sorted(names)
                        if verifies(message, path, signers.name, who, NAMESPACES["approval"], entry["at"])
                    ]
        if found:
            checked.notes.append(
                "%s: approved by %s (by the line of the key in the record)" % (entry["run"], ", ".join(found))
            )
        else:
            checked.problem("%s/approval.json" % entry["run"], "its signature does not hold")


def verifies(message, signature, allowed_signers, identity, namespace, at):
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed_signers, "-n", namespace]
    command += ["-s", signature, "-I", identity]
    options = [[]]  # type: list
    if at:  # in local time, as older versions of OpenSSH know no other
        when = datetime.fromisoformat(at).astimezone().strftime("%Y%m%d%H%M%S")
        options.insert(0, ["-Overify-time=" + when])
    done = (subprocess.run(command + more, input=message, capture_output=True) for more in options)
    return any(one.returncode == 0 for one in done)


def main(arguments):
    parser = argparse.ArgumentParser(description="Check change records.")
    parser.add_argument("folder", help="a records folder, an archive, or the copy of one record")
    parser.add_argument("--head", action="append", default=[], help="a head that was kept elsewhere")
    parser.add_argument("--allowed-signers", help="OpenSSH's file of the keys that may sign heads")
    parser.add_argument("--identity", help="whose signatures count")
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
        checked.notes.append("approvals were not looked at: ssh-keygen is not here")
    status = "verified" if checked.vouched else "consistent, not anchored"
    if checked.problems:
        status = "not verified"
    if given.json:
        found = {
            "status": status,
            "problems": checked.problems,
            "closed": checked.closed,
            "notes": checked.notes,
        }
        print(json.dumps(found, indent=1))
    else:
        for path, what in sorted(checked.problems.items()):
            print(ascii("problem: %s: %s" % (path, what)).strip("'\""))
        for note in checked.notes:
            print(ascii("note: %s" % note).strip("'\""))
        upto = " up to entry %d" % checked.vouched["seq"] if checked.vouched else ""
        print("%s%s: %d closed records, %d entries" % (status, upto, checked.closed, len(checked.entries)))
    return 1 if checked.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
