"""Test vectors of the records' format: a small records folder with every event, and what is wrong with it
after each of several changes.

``python -m tests.records.vectors`` writes them again. Everything is made by the product's own functions; only
clocks, names and places are fixed, so that the same bytes come out on every machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runbook_lib.parameters import load_site
from runbook_lib.plan import Action, Plan, Row, Slice, canonical
from runbook_lib.records import anchor, journal, record, retention
from runbook_lib.records.anchor import keep_head
from runbook_lib.records.chain import Chain, digest_of
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
from runbook_lib.statement import NAMESPACE, SIGNED, Line, Statement, Use, kind_of
from tests.conftest import CHECKOUT
from tests.records.conftest import finish, make, start, work

VECTORS = CHECKOUT / "runbook_lib/records/vectors.json"
OLD, SIGNED_RUN, URGENT = "demo/acme/1", "demo/acme/2", "demo/acme/3"
ADOPTED_RUN, BEGUN = "demo/acme/0", "demo/acme/4"
COPY = b"a copy that was handed out\n"
TARGET = {"target": "sandbox", "site": "demo", "twilio_account": "AC1", "pbx": "sandbox"}
ROWS = (
    Row("5.4", "max concurrent calls", 60, 50, Action.UPDATE),
    Row("5.2", "name", "Zürich", "Zürich", Action.IN_PLACE),
)
#: An identity, its key's seed, and how long its line of the allowed signers is valid.
SIGNERS = {
    "pat@desk": (1, ""),
    "al@desk": (2, ' valid-before="20260801"'),
    "lee@desk": (3, ' valid-before="20260101"'),
}


class _Clock:
    """A second passes with each look; the first record is seven years older than the others."""

    def __init__(self) -> None:
        self.years, self._seconds = 7, count()

    def now(self) -> str:
        return self.at().isoformat()

    def at(self) -> datetime:
        return datetime(2026 - self.years, 7, 1, tzinfo=UTC) + timedelta(seconds=next(self._seconds))


def _private_key(folder: Path, name: str) -> Path:
    key = Ed25519PrivateKey.from_private_bytes(bytes([SIGNERS[name][0]]) * 32)
    path = folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return path


def _line(name: str) -> str:
    """A line of the allowed signers."""
    seed, valid = SIGNERS[name]
    public = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return f"{name}{valid} {public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()}\n"


def _fingerprint(name: str) -> str:
    blob = base64.b64decode(_line(name).split()[-1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@contextmanager
def _fixed(clock: _Clock) -> Iterator[list[str]]:
    """Fix clocks, names and places; yields the name of whoever works, to be changed."""
    who = ["pat"]

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 7, 2, tzinfo=tz)

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


def _approved(records: Path, keys: Path) -> None:
    """A run under an approval that somebody else signed."""
    plan = Plan(dict(TARGET), "acme", {}, (Slice("05", ROWS),), id="0" * 32)
    statement = Statement(
        "1" * 32,
        "demo",
        "CHG-7",
        "2026-07-01T00:00:00+00:00",
        "2026-07-08T00:00:00+00:00",
        None,
        (Line(plan.id, plan.digest, plan.tenant, kind_of(plan)),),
    )
    command = ["ssh-keygen", "-Y", "sign", "-f", str(_private_key(keys, "al@desk")), "-n", NAMESPACE]
    made = subprocess.run(command, input=statement.content, capture_output=True, check=True)
    open_record(
        records,
        records / SIGNED_RUN,
        mode="apply",
        site="demo",
        tenant="acme",
        target=TARGET,
        order=("05",),
        parameters={},
        files={},
        approval={
            "plan": plan.digest,
            "by": {"who": "al@desk", "how": SIGNED, "key": _fingerprint("al@desk")},
        },
        kept={
            "approved.plan.json": (json.dumps(plan.to_document(), indent=1) + "\n").encode(),
            "approval.json": statement.content,
            "approval.json.sig": made.stdout,
            "approval.signers": _line("al@desk").encode(),
        },
        use=Use(statement, statement.lines[0], digest_of(statement.content)),
    )
    finish(records, records / SIGNED_RUN)


def _make(records: Path, keys: Path) -> None:
    """Every event once."""
    clock = _Clock()
    with _fixed(clock) as who:
        make(records, OLD)
        clock.years = 0
        _approved(records, keys)
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
        for name in SIGNERS:
            sign_head(records, _private_key(keys, name))
        keep_head(records)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _text(path: Path) -> str:
    return path.read_bytes().decode()


def _replaced(name: str, old: str, new: str) -> Callable[[dict[str, str]], dict[str, Any]]:
    return lambda files: {name: files[name].replace(old, new, 1)}


#: Changes of the folder: each returns the files that it makes, and with ``None`` those that it removes.
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
        "anchors.jsonl": {"append": files["anchors.jsonl"].replace("sha256:", "sha256:0000")}
    },
    "a signature changed": lambda files: {
        name: content.replace("U1NIU0lH", "U1NIU0lI")
        for name, content in files.items()
        if name.startswith("signatures/") and name.endswith(".sig")
    },
    "a signature removed": lambda files: {
        name: None for name in files if name.startswith("signatures/") and name.endswith(".sig")
    },
}  # fmt: skip


def _with(
    files: dict[str, str], event: str, run: str | None, name: str, content: str | None = None
) -> dict[str, str]:
    """One more line of the chain."""
    path = f"{run}/{name}" if run else name
    lines = files["chain.jsonl"].splitlines(True)
    entry = {
        "format": 2,
        "seq": len(lines),
        "at": "2026-07-02T00:00:00+00:00",
        "event": event,
        "run": run,
        "file": path,
        "content": digest_of((files[path] if content is None else content).encode()),
        "previous": digest_of(lines[-1].encode()),
    }
    return {"append": json.dumps(entry) + "\n"}


def put(folder: Path, files: Mapping[str, Any]) -> None:
    """Write files below a folder, and remove those without content."""
    for name, content in files.items():
        path = folder / name
        if isinstance(content, dict):
            with path.open("ab") as file:
                file.write(content["append"].encode())
        elif content is None:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())


Found = tuple[str, list[list[str]], int | None]


def verdict(folder: Path, given: dict[str, Any], signers: Path) -> Found:
    """The product's verdict on a folder: its status, problems as path and code, and the last proven entry."""
    anchors = [Anchor(head, "kept") for head in given.get("head", ())]
    problems: list[Any] = []
    if identities := given.get("identity"):
        found = signed_heads(folder, signers, identities)
        anchors += found.anchors
        problems += found.problems
    known = {entry.digest for entry in check_chain(folder)}
    anchors += [Anchor(one.head, "kept") for one in anchor.kept_heads(folder) if one.head not in known]
    data = verify_records(folder, anchors, problems).to_data()
    return (
        data["status"],
        [[problem["path"], problem["code"]] for problem in data["problems"]],
        data["verified_up_to"],
    )


def check_chain(folder: Path) -> list[Any]:
    """The entries of a chain that can be read."""
    from runbook_lib.records.chain_reading import read_chain

    return read_chain(folder)[0]


def make_vectors() -> dict[str, Any]:
    """Return the vectors as plain data."""
    with TemporaryDirectory() as place:
        keys, records = _folder(Path(place) / "keys"), _folder(Path(place) / "records")
        _make(records, keys)
        files = {
            path.relative_to(records).as_posix(): _text(path)
            for path in sorted(records.rglob("*"))
            if path.is_file() and path.suffix != ".lock" and path.name != ".ownership.json"
        }
        signers = Path(place) / "allowed"
        signers.write_text("".join(map(_line, SIGNERS)))
        head, first = str(Chain(records).head), Chain(records).entries()[0].digest
        asked: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in CHANGES]
        asked += [("as it is", {"head": [head]}), ("as it is", {"head": [first]})]
        asked += [("as it is", {"head": [digest_of(b"")]}), ("the chain cut", {"head": [head]})]
        asked += [("a line of a newer format", {"head": [digest_of(b"")]})]
        asked += [
            (name, {"identity": [identity]})
            for name in ("as it is", "a signature changed", "a signature removed", "the chain cut")
            for identity in SIGNERS
        ]
        asked += [("as it is", {"identity": ["al@desk", "pat@desk"]})]
        changes = {name: change(files) for name, change in CHANGES.items()}
        cases = []
        for number, (name, given) in enumerate(asked):
            folder = shutil.copytree(records, Path(place) / str(number))
            put(folder, changes[name])
            status, problems, upto = verdict(folder, given, signers)
            cases.append(
                {
                    "change": name,
                    "given": given,
                    "status": status,
                    "problems": problems,
                    "verified_up_to": upto,
                }
            )
        plan = json.loads(files[f"{SIGNED_RUN}/approved.plan.json"])
        covered = Plan.from_document(plan)
        return {
            "format": 1,
            "files": files,
            "head": head,
            "digests": [entry.digest for entry in Chain(records).entries()],
            "allowed_signers": signers.read_text(),
            "namespaces": {"head": OF_HEADS, "approval": NAMESPACE},
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
