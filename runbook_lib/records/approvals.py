"""The signed approvals of records, checked again by each reader.

A signature contains no time. It was valid when a run used it, so its key is judged at the time of that entry
of the chain: a key that has expired since, or whose holder has left, invalidates no record. The entry's time
comes from the clock of the machine that made it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from .. import ssh
from ..identity import person
from ..plain_files import SMALL, describe, parse_mapping, read, read_mapping, require_plain
from ..plan import Plan
from ..statement import NAMESPACE, OLD_NAMESPACE, SIGNED, Statement
from .chain import OPENED, Entry, digest_of
from .chain_reading import is_run
from .events import DISPOSED, REVOKED, USED, USED_FILE
from .problems import Code, Problem
from .run_folder import APPROVED, OPENING, SIGNERS, STATEMENT, refuse_links, signature_names
from .verify import Openings, skipped_since

#: The policy under which nobody's typed name is enough.
TWO_PERSONS = "two-person"


def signed_approvals(
    records: Path,
    entries: Sequence[Entry],
    allowed_signers: Path | None = None,
    revoked: Path | None = None,
    since: str | None = None,
    openings: Openings | None = None,
) -> tuple[list[Problem], list[str]]:
    """Judge the approvals that the runs of a records folder used.

    Each must be the one that was used, cover the record's plan, not have been revoked before, and be signed
    with every key that the run's opening names, and by as many people as its policy required. Returns
    problems for those that are not, and notes for those that are.

    Parameters
    ----------
    allowed_signers
        OpenSSH's file of the keys that may sign approvals, kept outside the records. A key whose line was
        deleted can no longer be checked; to end a key, add ``valid-before`` to its line. Without it,
        each record's own lines of its signers' keys count, which prove nothing against whoever wrote them.
    revoked
        A list of keys that never count, whenever they signed.
    since
        A head: runs that had closed by then are not looked at.
    openings
        The openings of the runs, if they have been read.
    """
    if revoked is not None:
        ssh.require_revocations(revoked)
    problems, notes = list[Problem](), list[str]()
    using = {entry.run for entry in entries if entry.event == USED}
    skipped = {entry.run for entry in entries if entry.event == DISPOSED} | skipped_since(entries, since)
    ended = list[object]()  # approvals, as far as the chain has been read
    for entry in entries:
        if entry.event == REVOKED:
            ended.append(read_mapping(records / entry.file).get("approval"))
        run = entry.run
        if entry.event not in (OPENED, USED) or not is_run(run) or run in skipped:
            continue
        if not _is_there(records, run):
            continue  # reported as missing
        opening = read_mapping(records / run / OPENING) if openings is None else openings.get(run, {})
        try:
            if entry.event == USED:
                notes += _used(records, entry, opening, ended, allowed_signers, revoked)
            elif run not in using:
                notes += _unused(records, entry, opening, allowed_signers, revoked)
        except (OSError, ValueError) as error:
            why = describe(error) if isinstance(error, OSError) else str(error)
            problems.append(Problem(run, f"its approval is not valid: {why}", Code.APPROVAL))
    return problems, list(dict.fromkeys(notes))


def _is_there(records: Path, run: str) -> bool:
    try:
        refuse_links(records, run)
    except OSError:
        return False
    return (records / run).is_dir()


def _used(
    records: Path,
    entry: Entry,
    opening: Mapping[str, Any],
    ended: Collection[object],
    allowed_signers: Path | None,
    revoked: Path | None,
) -> Iterator[str]:
    """What to note of the signed approval that a run used.

    Raises ``OSError`` for what cannot be read, ``ValueError`` for an approval that is not valid.
    """
    folder = records / str(entry.run)
    try:
        used = parse_mapping(read(folder / USED_FILE))
    except FileNotFoundError:
        return  # reported as missing
    message = read(folder / STATEMENT, SMALL)
    statement = Statement.parse(message)
    if (digest_of(message), statement.id) != (used.get("statement"), used.get("approval")):
        raise ValueError(f"{STATEMENT} is not the statement that was used")
    line = statement.line(Plan.from_document(parse_mapping(read(folder / APPROVED[0]))))
    if line is None:
        raise ValueError(f"{STATEMENT} does not cover {APPROVED[0]}")
    if any(used.get(name) != value for name, value in asdict(line).items()):
        raise ValueError(f"{APPROVED[0]} is not the plan that was used")
    if statement.id in ended:
        raise ValueError("it had been revoked when it was used")
    signatures = [one for one in signature_names(folder / STATEMENT) if one.exists()]
    if allowed_signers is not None:
        yield _judged(entry, opening, message, signatures, NAMESPACE, allowed_signers, revoked)
        return
    if why := ssh.unusable():
        yield f"signatures of approvals were not checked: {why}"
        return
    try:
        lines = read(folder / SIGNERS, SMALL)
    except FileNotFoundError:
        yield f"{entry.run}: older, without the lines of its signers' keys: check it with --approvers"
        return
    with NamedTemporaryFile() as signers:  # nobody replaces this one
        signers.write(lines)
        signers.flush()
        yield _judged(entry, opening, message, signatures, NAMESPACE, Path(signers.name), revoked)


def _unused(
    records: Path,
    entry: Entry,
    opening: Mapping[str, Any],
    allowed_signers: Path | None,
    revoked: Path | None,
) -> Iterator[str]:
    """What to note of a run that used no signed approval: it may be an older one, or one that needed it."""
    folder, policy = records / str(entry.run), opening.get("policy")
    needed = isinstance(policy, dict) and policy.get("approval") == TWO_PERSONS
    if needed and opening.get("mode") == "apply" and not opening.get("emergency"):
        raise ValueError(f"the site's policy was {TWO_PERSONS}, and the run used no signed approval")
    if allowed_signers is not None and _by(opening).get("how") == SIGNED:
        # From before a use was an entry: a signature over the plan's digest.
        digest = parse_mapping(read(folder / APPROVED[0])).get("digest")
        signatures = [folder / APPROVED[1]]
        yield _judged(
            entry, opening, f"{digest}\n".encode(), signatures, OLD_NAMESPACE, allowed_signers, revoked
        )


def _by(opening: Mapping[str, Any]) -> Mapping[str, Any]:
    """Who approved a run, as its opening says it; empty without an approval."""
    approval = opening.get("approval")
    by = approval.get("by") if isinstance(approval, dict) else None
    return by if isinstance(by, dict) else {}


def _judged(
    entry: Entry,
    opening: Mapping[str, Any],
    message: bytes,
    signatures: Sequence[Path],
    namespace: str,
    allowed_signers: Path,
    revoked: Path | None,
) -> str:
    """Say who signed; ``ValueError`` unless everybody did who had to.

    These are all whom the opening names by their keys, and as many people as its policy required.
    """
    valid = _holding(message, signatures, namespace, allowed_signers, entry, revoked)
    people = list[set[str]]()
    for names in valid.values():
        own = {person(name) for name in names}
        if not any(own & others for others in people):
            people.append(own)
    named = _by(opening).get("key")
    wanted = named.split(", ") if isinstance(named, str) else []
    policy = opening.get("policy")
    count = policy.get("approvers") if isinstance(policy, dict) else None
    count = max(count if type(count) is int else 1, 1)
    if missing := [key for key in wanted if key not in valid]:
        raise ValueError(f"no valid signature with {', '.join(missing)} at {entry.at}")
    if len(people) < count:
        raise ValueError(f"{count} people had to sign, and {len(people)} did, validly at {entry.at}")
    who = ", ".join(f"{names[0]} with {key}" for key, names in valid.items())
    return f"{entry.run}: approved by {who}; judged at {entry.at}"


def _holding(
    message: bytes,
    signatures: Sequence[Path],
    namespace: str,
    allowed_signers: Path,
    entry: Entry,
    revoked: Path | None,
) -> dict[str, list[str]]:
    """The keys whose signatures were valid at the time of an entry, each with its holders."""
    at, found = datetime.fromisoformat(entry.at), dict[str, list[str]]()
    for signature in signatures:
        require_plain(signature, SMALL)
        for name in ssh.principals(signature, allowed_signers, at_any_time=True):
            check = ssh.verify_signature(
                message, signature, allowed_signers, namespace, name, at=at, revoked=revoked
            )
            if key := ssh.verified_key(check):
                found.setdefault(key, []).append(name)
    return found
