"""The signed approvals of records, checked again by each reader.

A signature contains no time. It was valid when its run opened, so its key is judged at the time of that entry
of the chain: a key that has expired since, or whose holder has left, invalidates no record. The entry's time
comes from the clock of the machine that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from .. import ssh
from ..plain_files import SMALL, describe, parse_mapping, read, require_plain
from ..plan import Plan
from ..statement import NAMESPACE, OLD_NAMESPACE, SIGNED, Statement
from .chain import OPENED, Entry, digest_of
from .chain_reading import is_run, read_chain
from .events import DISPOSED
from .problems import Code, Problem
from .run_folder import APPROVED, STATEMENT, signature_names
from .uses import USED


def signed_approvals(
    records: Path, allowed_signers: Path, revoked: Path | None = None
) -> tuple[list[Problem], list[str]]:
    """Judge the signatures under which the runs of a records folder were opened.

    Every key that a run's opening names must be valid. Returns problems for those that are not, and notes
    for those that are.

    Parameters
    ----------
    allowed_signers
        OpenSSH's file of the keys that may sign approvals, kept outside the records. A key whose line was
        deleted can no longer be checked; to end a key, add ``valid-before`` to its line.
    revoked
        A list of keys that never count, whenever they signed.
    """
    if revoked is not None:
        ssh.require_revocations(revoked)
    problems, notes = list[Problem](), list[str]()
    entries = read_chain(records)[0]
    uses = {entry.run: entry for entry in entries if entry.event == USED}
    removed = {entry.run for entry in entries if entry.event == DISPOSED}
    for entry in entries:
        if entry.event != OPENED or not is_run(str(entry.run)) or entry.run in removed:
            continue
        try:
            told = parse_mapping(read(records / entry.file)).get("approval")
            by = told.get("by") if isinstance(told, dict) else None
            if not isinstance(by, dict) or by.get("how") != SIGNED:
                continue
            used = uses.get(entry.run)
            message, signatures, namespace = _signed(records, str(entry.run), used)
            wanted = str(by.get("key")).split(", ")
            holding = _holding(message, signatures, namespace, allowed_signers, used or entry, revoked)
        except (OSError, ValueError) as error:
            why = describe(error) if isinstance(error, OSError) else str(error)
            what = f"its approval cannot be checked: {why}"
            problems.append(Problem(str(entry.run), what, Code.APPROVAL))
            continue
        for key in wanted:
            if key in holding:
                notes.append(f"{entry.run}: approved by {holding[key]} with {key}; judged at {entry.at}")
            else:
                what = f"its approval, signed with {key}, is invalid at {entry.at} by {allowed_signers.name}"
                problems.append(Problem(str(entry.run), what, Code.APPROVAL))
    return problems, notes


def _signed(records: Path, run: str, used: Entry | None) -> tuple[bytes, list[Path], str]:
    """What was signed for a run, the files of its signatures, and their namespace.

    Raises ``OSError`` for what cannot be read, ``ValueError`` for a statement that is not the used one, or
    does not cover the record's plan.
    """
    folder = records / run
    if used is None:  # from before a use was an entry: a signature over the plan's digest
        digest = parse_mapping(read(folder / APPROVED[0])).get("digest")
        return f"{digest}\n".encode(), [folder / APPROVED[1]], OLD_NAMESPACE
    content = read(records / used.file)
    if digest_of(content) != used.content:
        raise ValueError(f"{used.file} has changed since it was recorded")
    message = read(folder / STATEMENT, SMALL)
    if digest_of(message) != parse_mapping(content).get("statement"):
        raise ValueError(f"{STATEMENT} is not the statement that was used")
    plan = Plan.from_document(parse_mapping(read(folder / APPROVED[0])))
    if Statement.parse(message).line(plan) is None:
        raise ValueError(f"{STATEMENT} does not cover {APPROVED[0]}")
    return message, [one for one in signature_names(folder / STATEMENT) if one.exists()], NAMESPACE


def _holding(
    message: bytes,
    signatures: Sequence[Path],
    namespace: str,
    allowed_signers: Path,
    entry: Entry,
    revoked: Path | None,
) -> dict[str, str]:
    """The keys whose signatures were valid at the time of an entry, each with its holder."""
    at, found = datetime.fromisoformat(entry.at), dict[str, str]()
    for signature in signatures:
        require_plain(signature, SMALL)
        key = ssh.signing_key(message, signature, namespace)
        for name in ssh.principals(signature, allowed_signers, at_any_time=True) if key else ():
            check = ssh.verify_signature(
                message, signature, allowed_signers, namespace, name, at=at, revoked=revoked
            )
            if key and check.returncode == 0:
                found.setdefault(key, name)
    return found
