"""Test vectors of the records' format: a small records folder with every event, one with an approval by two
people, a copy of each kind, and what is wrong with each of them after each of several changes.

``python -m tests.records.vectors`` writes them again. Everything is made by the product's own functions; only
clocks, names and places are fixed, so that the same bytes come out on every machine.
"""

from __future__ import annotations

import fcntl
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import pytest

from runbook_lib.parameters import load_site
from runbook_lib.plan import Plan, Slice, canonical
from runbook_lib.records import anchor, check_records, journal, record, retention
from runbook_lib.records.anchor import keep_head
from runbook_lib.records.approvals import signed_approvals
from runbook_lib.records.archive import write_archive
from runbook_lib.records.chain import Chain, digest_of
from runbook_lib.records.chain_reading import read_chain
from runbook_lib.records.export import COPY as COPY_FILE
from runbook_lib.records.export import export_record
from runbook_lib.records.handing import enter_copy
from runbook_lib.records.journal import Journal
from runbook_lib.records.policy import change_policy
from runbook_lib.records.problems import Anchor
from runbook_lib.records.record import open_record
from runbook_lib.records.retention import dispose_records, hold_record
from runbook_lib.records.reviews import review_run
from runbook_lib.records.settling import adopt
from runbook_lib.records.signatures import NAMESPACE as OF_HEADS
from runbook_lib.records.signatures import sign_head, signed_heads
from runbook_lib.records.uses import enter_revocation
from runbook_lib.records.verify import verify_records
from runbook_lib.statement import NAMESPACE, OLD_NAMESPACE, SIGNED, Line, Statement, Use, kind_of
from tests.conftest import CHECKOUT
from tests.records.conftest import finish, make, start, work
from tests.records.vector_changes import CHANGES, EDITS, LINES, OF_RECORD, OF_YEAR, closed_again
from tests.records.vector_parts import (
    ADOPTED_RUN,
    OLD,
    ROWS,
    SIGNED_RUN,
    SIGNERS,
    TARGET,
    TWO,
    URGENT,
    fingerprint,
    private_key,
    signature_by,
    signer_line,
)

VECTORS = CHECKOUT / "runbook_lib/records/vectors.json"
COPY = b"a copy that was handed out\n"
POLICY = {
    "approval": "two-person",
    "approvers": 2,
    "approval_valid": 7,
    "emergency": False,
    "ticket": None,
    "allowed_signers": None,
}
#: Who signs the last head; sam signs an earlier one, and ann none.
OF_HEAD = ("pat@desk", "al@desk", "lee@desk", "kim@desk", "max@desk")


class _Clock:
    """A second passes with each look; the first record is seven years older than the others."""

    def __init__(self) -> None:
        self.years, self._seconds = 7, count()

    def now(self) -> str:
        return self.at().isoformat()

    def at(self) -> datetime:
        return datetime(2001 - self.years, 7, 1, tzinfo=UTC) + timedelta(seconds=next(self._seconds))


@contextmanager
def _fixed(clock: _Clock) -> Iterator[list[str]]:
    """Fix clocks, names and places; yields the name of whoever works, to be changed."""
    who = ["pat"]

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2001, 7, 2, tzinfo=tz)

    def identities() -> list[dict[str, str]]:
        return [{"kind": "account", "name": f"{who[0]}@desk", "known": "observed"}]

    def scrubbed(content: Any) -> Any:
        places = {"workspace": "/srv/runbook", "records": "/srv/runbook/records"}
        places = {name: place for name, place in places.items() if name in content}
        return {**content, **places, **({"process": {"host": "desk", "pid": 1}} if places else {})}

    with pytest.MonkeyPatch.context() as patch:
        real = record.now
        for name, module in list(sys.modules.items()):
            if name.startswith("runbook_lib.records."):
                for attribute, value in (("now", clock.now), ("plain_identities", identities)):
                    if hasattr(module, attribute) and (attribute != "now" or module.now is real):
                        patch.setattr(module, attribute, value)
        patch.setattr(record, "whoami", lambda: f"{who[0]}@desk")
        patch.setattr(record, "scrub_data", scrubbed)
        patch.setattr(record, "try_out", lambda _: [])
        patch.setattr(record, "runbook_version", lambda: {"version": "0", "source": digest_of(b"")})
        patch.setattr(record, "tool_versions", lambda: {"python": "3"})
        for module in (journal, retention):
            patch.setattr(module, "datetime", Datetime)
        for variable in ("TICKET", "REASON", "EMERGENCY", "CHAIN"):
            patch.delenv(f"RUNBOOK_{variable}", raising=False)
        yield who


def _approved(records: Path, keys: Path, run: str, *names: str, policy: dict[str, Any] | None = None) -> None:
    """A run under an approval that others signed."""
    plan = Plan(dict(TARGET), "acme", {}, (Slice("05", ROWS),), id="0" * 32)
    statement = Statement(
        "1" * 32,
        "demo",
        "CHG-7",
        "2001-07-01T00:00:00+00:00",
        "2001-07-08T00:00:00+00:00",
        None,
        (Line(plan.id, plan.digest, plan.tenant, kind_of(plan)),),
    )
    suffixes = ("sig", "2.sig")
    open_record(
        records,
        records / run,
        mode="apply",
        site="demo",
        tenant="acme",
        target=TARGET,
        order=("05",),
        parameters={},
        files={},
        approval={
            "plan": plan.digest,
            "by": {"who": ", ".join(names), "how": SIGNED, "key": ", ".join(map(fingerprint, names))},
        },
        kept={
            "approved.plan.json": (json.dumps(plan.to_document(), indent=1) + "\n").encode(),
            "approval.json": statement.content,
            **{
                f"approval.json.{suffix}": signature_by(keys, name, statement.content)
                for suffix, name in zip(suffixes, names, strict=False)
            },
            "approval.signers": "".join(map(signer_line, names)).encode(),
        },
        use=Use(statement, statement.lines[0], digest_of(statement.content)),
        policy=policy,
    )
    finish(records, records / run)


def _make(records: Path, keys: Path) -> None:
    """Every event once."""
    clock = _Clock()
    with _fixed(clock) as who:
        make(records, OLD)
        clock.years = 0
        _approved(records, keys, SIGNED_RUN, "al@desk")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RUNBOOK_EMERGENCY", "calls fail")
            folder = start(records, URGENT)
        work(folder, answered=False)
        finish(records, folder)
        late = Journal(folder / "journal.jsonl", lambda event: event, dict(TARGET))
        late.answered("1", status=201, request_id="RQ1", seconds=0.5, result="TK1", error=None)
        who[0] = "al"
        review_run(records, URGENT, "as described")
        hold_record(records, URGENT, "the case of 2031")
        hold_record(records, URGENT, "the case is closed", release=True)
        hold_record(records, SIGNED_RUN, "the case of 2032")
        sign_head(records, private_key(keys, "sam@desk"))
        work(_folder(records / ADOPTED_RUN))
        adopt(records, records / ADOPTED_RUN, "found")
        (records / "settings.toml").write_text('keep = "1y"\nanchor = ["true"]\n')
        dispose_records(records, "5y", "the rule of the house")
        out = records.parent / "copy.md"
        out.write_bytes(COPY)
        enter_copy(records, OLD, out, "auditor")
        enter_revocation(records, "2" * 32, "the plan was wrong")
        site = load_site(str(CHECKOUT / "parameters/sandbox/site.yaml"), CHECKOUT)
        change_policy(records, site, CHECKOUT, "as decided")
        for name in OF_HEAD:
            sign_head(records, private_key(keys, name))
        keep_head(records)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _text(path: Path) -> str:
    return path.read_bytes().decode()


def put(folder: Path, files: Mapping[str, Any], all_files: Mapping[str, str] = {}) -> list[IO[bytes]]:
    """Write files below a folder, and remove those without content; return those whose locks are held.

    ``all_files`` are those of the records folder, which a copy's files may be the same as.
    """
    held = []
    for name in (name for name, content in files.items() if content is None):
        path = folder / name
        path.unlink()
        while (path := path.parent) != folder and not any(path.iterdir()):
            path.rmdir()
    for name, content in files.items():
        path = folder / name
        if content is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_bytes(content.encode())
            continue
        if "append" not in content:
            path.unlink(missing_ok=True)
        if "append" in content:
            with path.open("ab") as file:
                file.write(content["append"].encode())
        elif "same" in content:
            path.write_bytes(all_files[content["same"]].encode())
        elif "folder" in content:
            path.mkdir()
        elif "link" in content:
            path.symlink_to(content["link"])
        else:
            held.append(path.open("wb"))
            fcntl.flock(held[-1], fcntl.LOCK_EX)
    return held


Found = tuple[str, list[list[str]], int | None]


def verdict(folder: Path, given: dict[str, Any], place: Path) -> Found:
    """The product's verdict on a folder: its status, problems as path and code, and the last proven entry.

    ``place`` has the files that are given beside it.
    """
    anchors = [Anchor(head, "kept") for head in given.get("head", ())]
    problems: list[Any] = []
    revoked = place / "revoked" if "revoked" in given else None
    if identities := given.get("identity"):
        found = signed_heads(folder, read_chain(folder)[0], place / "allowed", identities, revoked)
        anchors += found.anchors
        problems += found.problems
    approvers = place / "approvers" if "approvers" in given else None
    problems += signed_approvals(folder, read_chain(folder)[0], approvers, revoked)[0]
    known = {entry.digest for entry in read_chain(folder)[0]}
    anchors += [Anchor(one.head, "kept") for one in anchor.kept_heads(folder) if one.head not in known]
    data = verify_records(folder, anchors, problems).to_data()
    return (
        data["status"],
        [[problem["path"], problem["code"]] for problem in data["problems"]],
        data["verified_up_to"],
    )


def verifiers_verdict(folder: Path, given: dict[str, Any], place: Path) -> Found:
    """The same by the verifier that travels; the only one that reads copies."""
    checked = check_records.Checked(
        str(folder), check_records.read_copy(str(folder)) if given.get("copy") else None
    )
    files = {name: str(place / name) if name in given else None for name in ("revoked", "approvers")}
    check_records.check_chain(checked)
    check_records.check_histories(checked)
    check_records.check_runs(checked)
    signers = str(place / "allowed") if "identity" in given else None
    heads, identities = given.get("head", []), given.get("identity")
    check_records.check_heads(checked, heads, signers, identities, files["revoked"])
    check_records.check_approvals(checked, files["approvers"], files["revoked"])
    data = check_records.as_data(checked)
    return (
        data["status"],
        [[problem["path"], problem["code"]] for problem in data["problems"]],
        data["verified_up_to"],
    )


def write_given(place: Path, given: dict[str, Any], allowed_signers: str) -> None:
    """Write the files that a case gives beside the folder."""
    (place / "allowed").write_text(allowed_signers)
    for name in ("revoked", "approvers"):
        if name in given:
            (place / name).write_text(given[name])


def _files_of(records: Path) -> dict[str, str]:
    return {
        path.relative_to(records).as_posix(): _text(path)
        for path in sorted(records.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != ".ownership.json"
    }


def _copies(records: Path, files: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """A copy of each kind, as the product makes it: what of it is checked."""
    out = {"record": records.parent / "record.zip", "year": records.parent / "year.zip"}
    export_record(records, SIGNED_RUN, out["record"], CHECKOUT)
    write_archive(records, 2001, out["year"], CHECKOUT)
    found: dict[str, dict[str, Any]] = {}
    for kind, path in out.items():
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as zipped:
            whole = {name.partition("/")[2]: zipped.read(name) for name in sorted(zipped.namelist())}
        same = {content: name for name, content in files.items()}
        found[kind] = {
            name: {"same": same[text]} if (text := content.decode()) in same else text
            for name, content in whole.items()
            if name.startswith((*("_events/", "demo/", "record/", "signatures/"), "chain", COPY_FILE))
        }
    return found


Case = tuple[str, str, dict[str, Any]]


def _asked(head: str, first: str, closed: str, two: str) -> list[Case]:
    """What is asked: of which folder, after which change, and what is given beside it."""
    cases: list[Case] = [("records", name, {}) for name in CHANGES]
    heads = {"head": [head]}
    cases += [("records", "as it is", {"head": one}) for one in ([head], [first], [head, first])]
    cases += [("records", "as it is", {"head": [digest_of(b"")]})]
    cases += [
        ("records", name, heads)
        for name in (
            *("the chain cut", "a file changed", "a line removed", "a line written otherwise"),
            *(
                "the chain's line endings changed",
                "a copy.json that somebody put there, and a record removed",
            ),
            *("a line of a newer format", "half a line", "no chain"),
        )
    ]
    cases += [("records", "a line of a newer format", {"head": [digest_of(b"")]})]
    cases += [
        ("records", name, {"identity": [identity]})
        for name in (
            *("as it is", "the chain cut", "the chain cut, and the kept heads removed"),
            "a line written otherwise",
        )
        for identity in SIGNERS
    ]
    cases += [
        ("records", name, {"identity": ["pat@desk"]})
        for name in (
            *("a signature changed", "a signature removed", "signatures that have the names of others"),
            *("the signatures behind a link", "more in a head's file than the head"),
        )
    ]
    cases += [
        ("records", "as it is", {"identity": identities})
        for identities in (
            *(["al@desk", "pat@desk"], ["lee@desk", "pat@desk"], ["lee@desk", "sam@desk"]),
            *(["max@desk"], ["pat@desk", "nobody"]),
        )
    ]
    cases += [("records", "signatures that have the names of others", {"identity": ["lee@desk", "sam@desk"]})]
    cases += [
        ("records", "the chain cut, and the kept heads removed", {"identity": identities})
        for identities in (["al@desk", "sam@desk"], ["al@desk", "kim@desk"])
    ]
    revoked = {"revoked": signer_line("pat@desk", "").partition(" ")[2]}
    cases += [
        ("records", name, {"identity": identities, **revoked})
        for name in ("as it is", "the chain cut, and the kept heads removed")
        for identities in (["pat@desk"], ["pat@desk", "kim@desk"])
    ]
    cases += [("two", name, {}) for name in ("as it is", *EDITS, *LINES)]
    cases += [
        ("two", name, {"head": [two]})
        for name in ("as it is", "a number left out", "checksums of a newer format", "lines of format 1")
    ]
    both, one = signer_line("pat@desk") + signer_line("al@desk"), signer_line("pat@desk")
    cases += [
        ("two", name, {"approvers": lines, **more})
        for name, lines, more in (
            *(("as it is", both, {}), ("as it is", one, {}), ("as it is", both, revoked)),
            *(("no lines of keys, as in older records", both, {}), ("no line of a key", both, {})),
            ("no lines of keys, as in older records", one, {}),
            *(("the older form of a signature", both, {}), ("the older form of a signature", one, {})),
            ("the older form of a signature", signer_line("al@desk", ' valid-before="20010101"'), {}),
        )
    ]
    copied = {"copy": True}
    for kind, changes in (("record", OF_RECORD), ("year", OF_YEAR)):
        cases += [(kind, name, copied) for name in ("as it is", *changes)]
        cases += [(kind, "as it is", {**copied, "head": [one]}) for one in (head, closed, first)]
        cases += [(kind, "as older copies are", {**copied, "head": [head]})]
        cases += [(kind, "as it is", {**copied, "identity": ["pat@desk"]}), (kind, "as it is", {})]
    cases += [("record", name, {**copied, "identity": ["sam@desk"]}) for name in ("as it is", *OF_RECORD)]
    cases += [("record", "its first line removed", {**copied, "head": [head]})]
    cases += [("year", "its first line removed", {**copied, "head": [head]})]
    return cases


def make_vectors() -> dict[str, Any]:
    """Return the vectors as plain data."""
    with TemporaryDirectory() as name:
        place = Path(name)
        keys, records, approved = (_folder(place / one) for one in ("keys", "records", "approved"))
        _make(records, keys)
        with _fixed(clock := _Clock()):
            clock.years = 0
            _approved(approved, keys, TWO, "pat@desk", "al@desk", policy=POLICY)
        files, two = _files_of(records), _files_of(approved)
        for extra in ("settings.toml", ".gitattributes"):
            two.pop(extra, None)
        with _fixed(_Clock()):
            copies = _copies(records, files)
        folders: dict[str, dict[str, Any]] = {"records": files, "two": two, **copies}
        changes = {
            "records": {name: change(files) for name, change in CHANGES.items()},
            "two": {name: closed_again(two, edit(two, keys)) for name, edit in EDITS.items()}
            | {name: change(two) for name, change in LINES.items()},
        }
        for kind, own in (("record", OF_RECORD), ("year", OF_YEAR)):
            whole = {
                name: files[text["same"]] if isinstance(text, dict) else text
                for name, text in copies[kind].items()
            }
            changes[kind] = {name: change(whole) for name, change in own.items()}
        for known in changes.values():
            known["as it is"] = {}
        signers = "".join(map(signer_line, SIGNERS))
        entries = Chain(records).entries()
        closed = next(entry for entry in entries if (entry.run, entry.event) == (SIGNED_RUN, "closed"))
        head, two_head = str(Chain(records).head), str(Chain(approved).head)
        asked, cases = _asked(head, entries[0].digest, closed.digest, two_head), []
        for number, (of, change, given) in enumerate(asked):
            beside = _folder(place / str(number))
            write_given(beside, given, signers)
            held = put(beside / "folder", folders[of], files)
            held += put(beside / "folder", changes[of][change])
            judge = verifiers_verdict if given.get("copy") else verdict
            status, problems, upto = judge(beside / "folder", given, beside)
            for file in held:
                file.close()
            cases.append(
                {
                    "of": of,
                    "change": change,
                    "given": given,
                    "status": status,
                    "problems": problems,
                    "verified_up_to": upto,
                }
            )
        plan = json.loads(files[f"{SIGNED_RUN}/approved.plan.json"])
        covered = Plan.from_document(plan)
        return {
            "format": 2,
            "folders": folders,
            "head": head,
            "digests": [entry.digest for entry in entries],
            "allowed_signers": signers,
            "namespaces": {"head": OF_HEADS, "approval": NAMESPACE, "older approval": OLD_NAMESPACE},
            "plan": {
                "of": f"{SIGNED_RUN}/approved.plan.json",
                "covered": canonical(
                    {
                        "format": 1,
                        "target": covered.target,
                        "tenant": covered.tenant,
                        "secrets": covered.secrets,
                        "slices": [
                            {"section": part.section, "rows": [row.covered() for row in part.changing]}
                            for part in covered.slices
                        ],
                    }
                ),
                "digest": covered.digest,
            },
            "handed_out": {"copy": COPY.decode(), "digest": digest_of(COPY)},
            "changes": changes,
            "cases": cases,
        }


def write_vectors() -> None:
    """Write the vectors that travel with records."""
    VECTORS.write_text(json.dumps(make_vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_vectors()
