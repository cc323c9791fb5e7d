"""What happens to the folders of the test vectors: see ``vectors``.

Each change returns the files that it makes, and with ``None`` those that it removes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runbook_lib.plan import Plan, Slice
from runbook_lib.records.chain import digest_of
from runbook_lib.records.export import COPY as COPY_FILE
from runbook_lib.records.signatures import NAMESPACE as OF_HEADS
from runbook_lib.statement import OLD_NAMESPACE, SIGNED
from tests.records.vector_parts import (
    ADOPTED_RUN,
    BEGUN,
    OLD,
    ROWS,
    SIGNED_RUN,
    TARGET,
    TWO,
    URGENT,
    fingerprint,
    signature_by,
    signer_line,
)


def _replaced(name: str, old: str, new: str) -> Callable[[dict[str, str]], dict[str, Any]]:
    return lambda files: {name: files[name].replace(old, new, 1)}


#: Changes of the folder with every event.
CHANGES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "as it is": lambda files: {},
    "a file changed": _replaced(f"{SIGNED_RUN}/record.json", "demo", "dema"),
    "a file removed": lambda files: {f"{SIGNED_RUN}/run.json": None},
    "a file added": lambda files: {f"{SIGNED_RUN}/more": ""},
    "line endings changed": lambda files: {
        f"{SIGNED_RUN}/run.json": files[f"{SIGNED_RUN}/run.json"].replace("\n", "\r\n")
    },
    "a pointer in a file's place": lambda files: {
        f"{SIGNED_RUN}/run.json": "version https://git-lfs.github.com/spec/v1\noid "
        f"{digest_of(files[f'{SIGNED_RUN}/run.json'].encode())}\nsize 1\n"
    },
    "a copy that JupyterLab made": lambda files: {
        f"{SIGNED_RUN}/.ipynb_checkpoints/run-checkpoint.json": files[f"{SIGNED_RUN}/run.json"]
    },
    "a record removed": lambda files: {
        name: None for name in files if name.startswith(f"{SIGNED_RUN}/")
    },
    "an opening changed": _replaced(f"{URGENT}/opening.json", "calls fail", "nothing"),
    "an adopted file changed": _replaced(f"{ADOPTED_RUN}/journal.jsonl", "POST", "GET"),
    "a file beside adopted ones": lambda files: {f"{ADOPTED_RUN}/more": ""},
    "a disposal's rest changed": _replaced(f"{OLD}/disposed.json", "TK1", "TK2"),
    "a file beside a disposal's rest": lambda files: {f"{OLD}/record.json": "{}\n"},
    "the file of an event changed": lambda files: {
        name: f"{content} " for name, content in files.items() if name.endswith("-handed-out.json")
    },
    "the file of an event removed": lambda files: {
        name: None for name in files if name.endswith("-policy.json")
    },
    "the chain cut": lambda files: {"chain.jsonl": "".join(files["chain.jsonl"].splitlines(True)[:-2])},
    "a line removed": lambda files: {
        "chain.jsonl": "".join(
            line for number, line in enumerate(files["chain.jsonl"].splitlines(True)) if number != 3
        )
    },
    "a line written otherwise": _replaced("chain.jsonl", '"seq": 2,', '"seq":2,'),
    "half a line": lambda files: {"chain.jsonl": files["chain.jsonl"][:-20]},
    "no chain": lambda files: {"chain.jsonl": None},
    "a line of a newer format": lambda files: {
        "chain.jsonl": {"append": '{"format": 3, "of": "another kind"}\n'}
    },
    "a closing twice": lambda files: {"chain.jsonl": _with(files, "closed", SIGNED_RUN, "checksums.json")},
    "a run that began": lambda files: {
        f"{BEGUN}/opening.json": "{}\n",
        "chain.jsonl": _with(files, "opened", BEGUN, "opening.json", "{}\n"),
    },
    "an event that nobody knows": lambda files: {
        "_events/x.json": "{}\n",
        "chain.jsonl": _with(files, "painted", None, "_events/x.json", "{}\n"),
    },
    "a file outside of the folder": lambda files: {
        "chain.jsonl": _with(files, "painted", None, "../x.json", "{}\n")
    },
    "a record outside of the chain": lambda files: {f"{BEGUN}/record.json": "{}\n"},
    "a run that never opened": lambda files: {f"{BEGUN}/opening.json": f'{{"run": "{BEGUN}"}}\n'},
    "a plan outside of the chain": lambda files: {f"{BEGUN}/run.json": '{"mode": "plan"}\n'},
    "a plan that wrote": lambda files: {
        f"{BEGUN}/run.json": '{"mode": "plan"}\n',
        f"{BEGUN}/journal.jsonl": "",
    },
    "a kept head that the chain does not have": lambda files: {
        "anchors.jsonl": {"append": _kept_head(files, digest_of(b"another"))}
    },
    "a kept head that is no digest": lambda files: {"anchors.jsonl": {"append": _kept_head(files, "none")}},
    "lines among the kept heads that are none": lambda files: {
        "anchors.jsonl": {
            "append": '[]\n{"format": 1, "seq": 1, "head": "none"}\n'
            + _kept_head(files, "none").replace('"format": 1', '"format": 2')
            + "half a line"
        }
    },
    "a signature changed": lambda files: {
        name: content.replace("U1NIU0lH", "U1NIU0lI")
        for name, content in files.items()
        if name.startswith("signatures/") and name.endswith(".sig")
    },
    "a signature removed": lambda files: {
        name: None for name in files if name.startswith("signatures/") and name.endswith(".sig")
    },
    "signatures that have the names of others": lambda files: {
        **{name: None for name in files if name.startswith("signatures/")},
        **{
            f"signatures/{number:06}-00000000.{name.partition('.')[2]}": content
            for number, (name, content) in enumerate(
                (name, files[name]) for name in sorted(files) if name.startswith("signatures/")
            )
            for number in [9 - number // 2]
        },
    },
    "more in a head's file than the head": lambda files: {
        name: f"{content}more\n" for name, content in files.items() if name.endswith(".head")
    },
    "the signatures behind a link": lambda files: {
        **{name: None for name in files if name.startswith("signatures/")},
        **{f"elsewhere/{name}": content for name, content in files.items() if name.startswith("signatures/")},
        "signatures": {"link": "elsewhere/signatures"},
    },
    "the chain cut, and the kept heads removed": lambda files: {
        **CHANGES["the chain cut"](files),
        "anchors.jsonl": None,
    },
    "a copy that JupyterLab made of other content": lambda files: {
        f"{SIGNED_RUN}/.ipynb_checkpoints/run-checkpoint.json": f"{files[f'{SIGNED_RUN}/run.json']} "
    },
    "a copy that JupyterLab made of the checksums": lambda files: {
        f"{SIGNED_RUN}/.ipynb_checkpoints/checksums-checkpoint.json": files[f"{SIGNED_RUN}/checksums.json"]
    },
    "a copy that JupyterLab made, elsewhere": lambda files: {
        f"{SIGNED_RUN}/more/.ipynb_checkpoints/run-checkpoint.json": files[f"{SIGNED_RUN}/run.json"]
    },
    "an empty folder": lambda files: {f"{SIGNED_RUN}/more/empty": {"folder": True}},
    "an empty folder beside adopted files": lambda files: {f"{ADOPTED_RUN}/empty": {"folder": True}},
    "a folder in a file's place": lambda files: {
        f"{SIGNED_RUN}/run.json": None,
        f"{SIGNED_RUN}/run.json/file": "",
    },
    "an empty folder in a file's place": lambda files: {f"{SIGNED_RUN}/run.json": {"folder": True}},
    "a file in a folder's place": lambda files: {
        **{name: None for name in files if name.startswith(f"{URGENT}/")},
        URGENT: "",
    },
    "a link in a file's place": lambda files: {
        f"{SIGNED_RUN}/run.json": {"link": "../../../run.json"},
        "run.json": files[f"{SIGNED_RUN}/run.json"],
    },
    "a link more": lambda files: {f"{SIGNED_RUN}/more": {"link": "run.json"}},
    "a link in a folder's place": lambda files: {
        **{name: None for name in files if name.startswith("demo/acme/")},
        **{f"else/{name}": content for name, content in files.items() if name.startswith("demo/acme/")},
        "demo/acme": {"link": "../else/demo/acme"},
    },
    "a link between the runs": lambda files: {"demo/other": {"link": "acme"}},
    "a record withheld": lambda files: {
        **{name: None for name in files if name.startswith(f"{URGENT}/")},
        "demo/acme/withheld-al/3/opening.json": files[f"{URGENT}/opening.json"],
    },
    "another run withheld": lambda files: {
        **{name: None for name in files if name.startswith(f"{URGENT}/")},
        "demo/acme/withheld/4/opening.json": files[f"{URGENT}/opening.json"],
    },
    "an adopted folder removed": lambda files: {
        name: None for name in files if name.startswith(f"{ADOPTED_RUN}/")
    },
    "adopted again": lambda files: _adopted_again(files),
    "the chain's line endings changed": lambda files: {
        "chain.jsonl": files["chain.jsonl"].replace("\n", "\r\n")
    },
    "a pointer in the chain's place": lambda files: {
        "chain.jsonl": "version https://git-lfs.github.com/spec/v1\noid "
        f"{digest_of(files['chain.jsonl'].encode())}\nsize 1\n"
    },
    "an empty chain": lambda files: {"chain.jsonl": ""},
    "no chain, and no closed record": lambda files: {
        **{name: None for name in files},
        "demo/acme/2/record.json": "{}\n",
    },
    "a record outside of a chain with a newer line": lambda files: {
        **CHANGES["a line of a newer format"](files),
        **CHANGES["a record outside of the chain"](files),
    },
    "a run that a newer line may have closed": lambda files: {
        f"{BEGUN}/opening.json": "{}\n",
        "chain.jsonl": {
            "append": _with(files, "opened", BEGUN, "opening.json", "{}\n")["append"]
            + '{"format": 3, "of": "another kind"}\n'
        },
    },
    "a run that began and is gone": lambda files: {
        "chain.jsonl": _with(files, "opened", BEGUN, "opening.json", "{}\n")
    },
    "a run that is going on": lambda files: {
        **CHANGES["a run that began"](files),
        f"{BEGUN}/.run.lock": {"locked": True},
    },
    "a run that never opened, of another name": lambda files: {
        f"{BEGUN}/opening.json": f'{{"run": "{SIGNED_RUN}"}}\n'
    },
    "an empty folder between the runs": lambda files: {BEGUN: {"folder": True}},
    "a lock beside a closed record": lambda files: {f"{SIGNED_RUN}/.run.lock": ""},
    "a part of the chain that ends without closing": lambda files: {
        "chain.jsonl": "".join(files["chain.jsonl"].splitlines(True)[:6]),
        "anchors.jsonl": None,
    },
    "a copy.json that somebody put there, and a record removed": lambda files: {
        **{name: None for name in files if name.startswith(f"{URGENT}/")},
        COPY_FILE: json.dumps({"format": 1, "kind": "record", "folders": {SIGNED_RUN: SIGNED_RUN}}) + "\n",
    },
}  # fmt: skip

#: What happens to the record that two people approved, before its checksums and the chain are made: so only
#: the approval shows it.
EDITS: dict[str, Callable[[dict[str, str], Path], dict[str, Any]]] = {
    "a signature missing": lambda files, keys: {f"{TWO}/approval.json.2.sig": None},
    "a signature missing, and its key in the opening": lambda files, keys: {
        f"{TWO}/approval.json.2.sig": None,
        **_in(files, "opening.json", f"{fingerprint('pat@desk')}, ", ""),
    },
    "the first signature missing": lambda files, keys: {f"{TWO}/approval.json.sig": None},
    "a key more in the opening": lambda files, keys: {
        **_in(files, "opening.json", fingerprint("al@desk"), f"{fingerprint('al@desk')}, SHA256:more"),
    },
    "two keys of one person": lambda files, keys: {
        f"{TWO}/approval.json.2.sig": signature_by(
            keys, "pat@home", files[f"{TWO}/approval.json"].encode()
        ).decode(),
        f"{TWO}/approval.signers": signer_line("pat@desk") + signer_line("pat@home"),
        **_in(files, "opening.json", fingerprint("al@desk"), fingerprint("pat@home")),
    },
    "a signature changed": lambda files, keys: _in(files, "approval.json.sig", "U1NIU0lH", "U1NIU0lI"),
    "a signature more, which is none": lambda files, keys: {f"{TWO}/approval.json.3.sig": "none\n"},
    "a signature of a head": lambda files, keys: {
        f"{TWO}/approval.json.sig": signature_by(
            keys, "pat@desk", files[f"{TWO}/approval.json"].encode(), OF_HEADS
        ).decode()
    },
    "another statement": lambda files, keys: _in(files, "approval.json", "CHG-7", "CHG-8"),
    "another statement, and its digest": lambda files, keys: _with_digest(
        files, _in(files, "approval.json", "CHG-7", "CHG-8")
    ),
    "another statement, signed again": lambda files, keys: _signed_again(
        _in(files, "approval.json", "CHG-7", "CHG-8"), keys
    ),
    "another approval's id": lambda files, keys: _in(files, "used.json", "1" * 32, "2" * 32),
    "another tenant in used.json": lambda files, keys: _in(
        files, "used.json", '"tenant": "acme"', '"tenant": "globex"'
    ),
    "another kind in used.json": lambda files, keys: _in(
        files, "used.json", '"kind": "apply"', '"kind": "retire"'
    ),
    "no statement": lambda files, keys: {f"{TWO}/approval.json": None},
    "another plan": lambda files, keys: _in(files, "approved.plan.json", '"desired": 60', '"desired": 61'),
    "another plan, and its digest": lambda files, keys: _another_plan(files),
    "another effect on calls": lambda files, keys: _in(
        files, "approved.plan.json", '"effect": "none"', '"effect": "drops calls"'
    ),
    "a note and a row in place": lambda files, keys: _in(
        files, "approved.plan.json", '"note": ""', '"note": "as agreed"'
    ),
    "a plan of another id": lambda files, keys: _in(files, "approved.plan.json", "0" * 32, "3" * 32),
    "a key that was not valid then": lambda files, keys: {
        f"{TWO}/approval.signers": signer_line("pat@desk")
        + signer_line("al@desk", ' valid-before="20010101"')
    },
    "a key that is valid now and was not then": lambda files, keys: {
        f"{TWO}/approval.signers": signer_line("pat@desk") + signer_line("al@desk", ' valid-after="20150101"')
    },
    "no line of a key": lambda files, keys: {f"{TWO}/approval.signers": signer_line("pat@desk")},
    "no lines of keys, as in older records": lambda files, keys: {f"{TWO}/approval.signers": None},
    "no approval, though the policy was two-person": lambda files, keys: _unapproved(files, {"approval": {}}),
    "no approval in an emergency": lambda files, keys: _unapproved(
        files, {"approval": {}, "emergency": "calls fail"}
    ),
    "a policy that needs no approval": lambda files, keys: _unapproved(
        files, {"approval": {}, "policy": {"approval": "none", "approvers": 1}}
    ),
    "the older form of a signature": lambda files, keys: _in_the_older_form(files, keys, "al@desk"),
}  # fmt: skip
#: Changes of its chain, and of whatever else is not a file of its record.
LINES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "a number left out": lambda files: _edited(files, 1, seq=2),
    "another line before": lambda files: _edited(files, 1, previous=digest_of(b"")),
    "a line before the first": lambda files: _edited(files, 0, previous=digest_of(b"")),
    "a time that is none": lambda files: _edited(files, 1, at="yesterday"),
    "a day that is none": lambda files: _edited(files, 1, at="2001-02-30T00:00:00+00:00"),
    "a time in another zone": lambda files: _edited(files, 1, at="2001-07-01T00:00:05+02:00"),
    "a time before that of the line before": lambda files: _edited(files, 1, at="2000-07-01T00:00:05+00:00"),
    "no digest of the file": lambda files: _edited(files, 2, content="sha256:0"),
    "an opening of no run": lambda files: _edited(files, 0, run=None),
    "an opening that names another file": lambda files: _edited(files, 0, file=f"{TWO}/record.json"),
    "a use that names another file": lambda files: _edited(files, 1, file=f"{TWO}/record.json"),
    "lines of format 1": lambda files: _older(files),
    "an event in a line of format 1": lambda files: _older(files, {0, 1, 2}),
    "checksums of a newer format": lambda files: _newer_checksums(files),
    "checksums of a newer format, and a record outside of the chain": lambda files: {
        **_newer_checksums(files),
        f"{BEGUN}/record.json": "{}\n",
    },
    "revoked before": lambda files: _revoked(files, 1),
    "revoked after": lambda files: _revoked(files, 2),
    "another approval revoked before": lambda files: _revoked(files, 1, "4" * 32),
}
#: Changes of the copy of one record.
OF_RECORD: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "a file changed": _replaced("record/record.json", "demo", "dema"),
    "a file removed": lambda files: {"record/used.json": None},
    "a file added": lambda files: {"record/more": ""},
    "a line removed": lambda files: {"chain.jsonl": _without(files, 4)},
    "its first line removed": lambda files: {"chain.jsonl": _without(files, 0)},
    "the file of its run's event removed": lambda files: {
        name: None for name in files if name.endswith("-held.json")
    },
    "a kept head beside it": lambda files: {
        "anchors.jsonl": '{"format": 1, "at": "2001-07-02T00:00:00+00:00", "seq": 99, "head": "none"}\n'
    },
    "the name of another run": lambda files: _in_copy(files, {"folders": {BEGUN: "record"}}),
    "as older copies are": lambda files: _in_copy(files, {"kind": None}),
    "its signature changed": lambda files: CHANGES["a signature changed"](files),
}  # fmt: skip
#: Changes of the copy of a year.
OF_YEAR: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "a file changed": _replaced(f"{SIGNED_RUN}/record.json", "demo", "dema"),
    "a record left out": lambda files: {
        **{name: None for name in files if name.startswith(f"{URGENT}/")},
        **_in_copy(files, {"folders": {SIGNED_RUN: SIGNED_RUN}}),
    },
    "a record removed": lambda files: {name: None for name in files if name.startswith(f"{URGENT}/")},
    "its first line removed": lambda files: {"chain.jsonl": _without(files, 0)},
    "the file of an event removed": lambda files: {
        name: None for name in files if name.endswith("-policy.json")
    },
    "as older copies are": lambda files: _in_copy(files, {"kind": None}),
}  # fmt: skip


def _kept_head(files: dict[str, str], head: str) -> str:
    """A line like those of the kept heads."""
    told = json.loads(files["anchors.jsonl"].splitlines()[0])
    return json.dumps({**told, "head": head}) + "\n"


def _in(files: dict[str, str], name: str, old: str, new: str) -> dict[str, Any]:
    """A file of the record that two people approved, with another text in it."""
    assert old in files[f"{TWO}/{name}"], (name, old)
    return {f"{TWO}/{name}": files[f"{TWO}/{name}"].replace(old, new)}


def _with_digest(files: dict[str, str], edits: dict[str, Any]) -> dict[str, Any]:
    """The same with the statement's digest in ``used.json``."""
    old, new = (digest_of(one[f"{TWO}/approval.json"].encode()) for one in (files, edits))
    return {**edits, **_in(files, "used.json", old, new)}


def _signed_again(edits: dict[str, Any], keys: Path) -> dict[str, Any]:
    """The same with valid signatures: only ``used.json`` shows that it is not what the run used."""
    message = edits[f"{TWO}/approval.json"].encode()
    names = {"sig": "pat@desk", "2.sig": "al@desk"}
    signatures = {end: signature_by(keys, name, message).decode() for end, name in names.items()}
    return {**edits, **{f"{TWO}/approval.json.{end}": text for end, text in signatures.items()}}


def _another_plan(files: dict[str, str]) -> dict[str, Any]:
    """A plan that fits its own digest and that of ``used.json``, and that nobody approved."""
    document = json.loads(files[f"{TWO}/approved.plan.json"].replace('"desired": 60', '"desired": 61'))
    digest = Plan(dict(TARGET), "acme", {}, (Slice("05", (replace(ROWS[0], desired=61),)),)).digest
    before, document["digest"] = document["digest"], digest
    return {
        f"{TWO}/approved.plan.json": json.dumps(document, indent=1) + "\n",
        **_in(files, "used.json", before, digest),
    }


def _unapproved(files: dict[str, str], opening: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that used no approval, with this in its opening."""
    told = {**json.loads(files[f"{TWO}/opening.json"]), **opening}
    return {
        **{name: None for name in files if "/approv" in name or name.endswith("/used.json")},
        f"{TWO}/opening.json": json.dumps(told, indent=1) + "\n",
    }


def _in_the_older_form(files: dict[str, str], keys: Path, name: str) -> dict[str, Any]:
    """The record of a run from before a use was an event: a signature over the plan's digest."""
    plan = files[f"{TWO}/approved.plan.json"]
    message = (json.loads(plan)["digest"] + "\n").encode()
    by = {"who": name, "how": SIGNED, "key": fingerprint(name)}
    return {
        **_unapproved(files, {"approval": {"plan": message.decode().strip(), "by": by}, "policy": None}),
        f"{TWO}/approved.plan.json": plan,
        f"{TWO}/approved.plan.json.sig": signature_by(keys, name, message, OLD_NAMESPACE).decode(),
    }


def closed_again(files: dict[str, str], edits: dict[str, Any]) -> dict[str, Any]:
    """Edits of the record that two people approved, with the checksums and the chain of what it is then."""
    after = {name: text for name, text in {**files, **edits}.items() if text is not None}
    path = f"{TWO}/checksums.json"
    told = json.loads(files[path])
    names = [name for name in sorted(after) if name.startswith(f"{TWO}/") and name != path]
    told["files"] = {name.removeprefix(f"{TWO}/"): digest_of(after[name].encode()) for name in names}
    after[path] = json.dumps(told, indent=1) + "\n"
    entries = [
        {**entry, "content": digest_of(after[entry["file"]].encode())}
        for entry in _entries(files)
        if entry["file"] in after
    ]
    return {**edits, path: after[path], "chain.jsonl": _linked(entries)}


def _entries(files: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files["chain.jsonl"].splitlines()]


def _linked(entries: Sequence[dict[str, Any]], kept: int | None = None) -> str:
    """A chain of these entries: each with its number and the digest of the one before, but for a kept one."""
    lines: list[str] = []
    for number, entry in enumerate(entries):
        if number != kept:
            entry["previous"] = digest_of(lines[-1].encode()) if lines else None
            entry["seq"] = entries[number - 1]["seq"] + 1 if number else 0
        lines.append(json.dumps(entry) + "\n")
    return "".join(lines)


def _edited(files: dict[str, str], number: int, **values: Any) -> dict[str, Any]:
    """One line with other values, and those after it as they follow from it."""
    entries = _entries(files)
    entries[number] |= values
    return {"chain.jsonl": _linked(entries, number)}


def _older(files: dict[str, str], numbers: set[int] | None = None) -> dict[str, Any]:
    """Lines in format 1: those of the opening and the closing, unless others are meant."""
    entries = _entries(files)
    for number, entry in enumerate(entries):
        if entry["event"] in ("opened", "closed") if numbers is None else number in numbers:
            entry["format"] = 1
            del entry["file"]
    return {"chain.jsonl": _linked(entries)}


def _newer_checksums(files: dict[str, str]) -> dict[str, Any]:
    path, entries = f"{TWO}/checksums.json", _entries(files)
    content = json.dumps({**json.loads(files[path]), "format": 2, "files": "elsewhere"}) + "\n"
    entries[-1]["content"] = digest_of(content.encode())
    return {path: content, "chain.jsonl": _linked(entries), f"{TWO}/more": ""}


def _revoked(files: dict[str, str], number: int, approval: str = "1" * 32) -> dict[str, Any]:
    """The approval, or another one, revoked in the line with a number."""
    name, entries = "_events/revoked.json", _entries(files)
    content = json.dumps({"format": 1, "at": entries[0]["at"], "by": [], "approval": approval, "reason": "x"})
    content += "\n"
    entry = {**entries[0], "event": "revoked", "run": None, "file": name}
    entries.insert(number, {**entry, "content": digest_of(content.encode())})
    return {name: content, "chain.jsonl": _linked(entries)}


def _adopted_again(files: dict[str, str]) -> dict[str, Any]:
    """A folder that somebody changed and entered once more: the last entry counts."""
    [first] = [name for name in files if name.endswith("-adopted.json")]
    told, path = json.loads(files[first]), f"{ADOPTED_RUN}/more"
    told["files"]["more"] = digest_of(b"more\n")
    content = json.dumps(told) + "\n"
    added = _with({**files, "_events/again.json": content}, "adopted", None, "_events/again.json")
    added["append"] = added["append"].replace('"run": null', f'"run": "{ADOPTED_RUN}"')
    return {path: "more\n", "_events/again.json": content, "chain.jsonl": added}


def _without(files: dict[str, str], number: int) -> str:
    lines = files["chain.jsonl"].splitlines(True)
    return "".join([*lines[:number], *lines[number + 1 :]])


def _in_copy(files: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    """What a copy is of, with other values; without those that are ``None``."""
    told = {**json.loads(files[COPY_FILE]), **values}
    told = {key: value for key, value in told.items() if value is not None}
    return {COPY_FILE: json.dumps(told) + "\n"}


def _with(
    files: dict[str, str], event: str, run: str | None, name: str, content: str | None = None
) -> dict[str, str]:
    """One more line of the chain."""
    path = f"{run}/{name}" if run else name
    lines = files["chain.jsonl"].splitlines(True)
    entry = {
        "format": 2,
        "seq": len(lines),
        "at": "2001-07-02T00:00:00+00:00",
        "event": event,
        "run": run,
        "file": path,
        "content": digest_of((files[path] if content is None else content).encode()),
        "previous": digest_of(lines[-1].encode()),
    }
    return {"append": json.dumps(entry) + "\n"}
