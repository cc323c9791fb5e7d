"""Signatures of the chain's head, made and checked by OpenSSH's ``ssh-keygen``.

They are in ``records/signatures/`` in pairs: ``NNNNNN-XXXXXXXX.head`` (the head) and the same with
``.sig``. A signature covers all entries up to its head. It cannot reveal that later entries were
removed together with their signatures: only a head that is kept somewhere else can.

A signature contains no time, so its key is judged at the time of the head's entry. That time comes from the
clock of the machine that made the entry: anyone who can set that clock, or has an old key, can exploit this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from .. import ssh
from ..plain_files import SMALL, NotPlainError, describe, read, read_mapping, require_plain, write_whole
from .chain import Chain, Entry
from .chain_reading import is_head
from .errors import RecordError
from .problems import Anchor, Code, Problem, not_plain_problem
from .run_folder import OPENING, refuse_links
from .verify import SIGNATURES

NAMESPACE = "portsip-twilio-runbook"
#: The number in a head's name; it counts only while its entry is not in the chain.
_NUMBER = re.compile(r"(\d{6,18})-", re.ASCII)


def sign_head(records: Path, key: Path) -> Path:
    """Sign the head with an SSH key (its private half, or the public one of a key in the agent).

    Returns the signature's file. ``ssh-keygen`` asks for a passphrase itself. Raises
    ``RecordError`` when there is nothing to sign, or it cannot be signed.
    """
    entries = Chain(records).entries()
    if not entries:
        raise RecordError("there is nothing to sign", next_step="make a record first: runbook apply")
    message = f"{entries[-1].digest}\n".encode()
    signature = ssh.sign_message(message, key, NAMESPACE)
    if signature.returncode != 0:
        raise RecordError(
            f"ssh-keygen could not sign with {key}: {ssh.last_line(signature.stderr)}",
            next_step="name the private key, or the public half of a key in the SSH agent",
        )
    name = f"{entries[-1].seq:06}-{hashlib.sha256(signature.stdout).hexdigest()[:8]}.head"
    head = records / SIGNATURES / name
    path = head.with_name(f"{name}.sig")
    try:
        head.parent.mkdir(exist_ok=True)
        write_whole(head, message)
        write_whole(path, signature.stdout)
    except OSError as error:
        raise RecordError(
            f"the signature cannot be written ({describe(error)})",
            meaning="the head is not signed",
            next_step="make the signatures folder writable for this account, and sign again",
        ) from None
    return path


@dataclass(frozen=True)
class Signatures:
    """What the signatures of a records folder show.

    ``anchors`` are the heads that the wanted identities signed; ``notes`` say who signed what, and which
    signatures do not count without spoiling anything.
    """

    anchors: tuple[Anchor, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Judged:
    """One signature: the head that it covers (``None`` if it is not valid), and what to report.

    ``seq`` is the number of the head's entry, or what the file's name says of it. ``cut`` is a head that
    somebody signed once, with a key that is not valid now, and that is not in the chain. ``harmless`` is a
    signature by somebody else: problems with it do not concern the wanted identities.
    """

    path: str
    seq: int
    what: str
    anchor: Anchor | None = None
    cut: Anchor | None = None
    harmless: bool = False


def signed_heads(
    records: Path,
    entries: Sequence[Entry],
    allowed_signers: Path,
    identities: Sequence[str],
    revoked: Path | None = None,
) -> Signatures:
    """Judge the signatures of heads.

    The key must have been valid when the head's entry was made, by the chain's own time, or be valid now:
    a signature contains no time. An invalid one is a problem only if no signature of the wanted
    identities is valid for the same head or a later one.

    Parameters
    ----------
    allowed_signers
        OpenSSH's file of the keys that may sign, kept outside the records.
    identities
        Whose signatures count, any of them; those of other allowed signers are left alone.
    revoked
        A list of keys that never count, whenever they signed.
    """
    if revoked is not None:
        ssh.require_revocations(revoked)
    judge = _Judge(records, entries, allowed_signers, identities, revoked)
    try:
        refuse_links(records, SIGNATURES)
    except NotPlainError as error:
        problem = not_plain_problem(records, error)
        return Signatures((), (problem, _none_by(identities)), ())
    judged = [judge.of(head) for head in sorted((records / SIGNATURES).glob("*.head"))]
    best = max((one.seq for one in judged if one.anchor), default=-1)
    weak = [one for one in judged if not one.anchor and not one.harmless and one.seq > best]
    anchors = [found for one in judged if (found := one.anchor or (one.cut if one in weak else None))]
    problems = [Problem(one.path, one.what, Code.SIGNATURE) for one in weak if one.cut is None]
    if not any(one.anchor for one in judged):
        problems.append(_none_by(identities))
    notes = [f"{one.path}: {one.what}" for one in judged if one not in weak]
    return Signatures(tuple(anchors), tuple(problems), tuple(notes))


def _none_by(identities: Sequence[str]) -> Problem:
    what = f"missing: no valid signature by {' or '.join(identities)}"
    return Problem(SIGNATURES, what, Code.NO_SIGNATURE)


class _Judge:
    def __init__(
        self,
        records: Path,
        entries: Sequence[Entry],
        allowed_signers: Path,
        identities: Sequence[str],
        revoked: Path | None,
    ) -> None:
        self._records = records
        self._signers = allowed_signers
        self._identities = identities
        self._revoked = revoked
        self._entries = {one.digest: one for one in entries}

    def of(self, head: Path) -> _Judged:
        """Judge one signature, by the file of its head."""
        signature = head.with_name(f"{head.name}.sig")
        path, number = f"{SIGNATURES}/{signature.name}", _NUMBER.match(head.name)
        seq = int(number[1]) if number else 0
        try:
            message = read(head, SMALL)
            require_plain(signature, SMALL)
        except FileNotFoundError:
            return _Judged(path, seq, "missing")
        except OSError as error:
            return _Judged(path, seq, f"it or its head cannot be read ({error.strerror})")
        digest = message.decode(errors="replace").strip()
        if not is_head(digest):
            return _Judged(path, seq, "changed: its head is none")
        entry = self._entries.get(digest)
        seq = entry.seq if entry else seq
        key = ssh.signing_key(message, signature, NAMESPACE)
        if key is None:
            return _Judged(path, seq, "not a signature of this head")
        for identity in self._identities:
            if when := self._holds(message, signature, identity, entry):
                anchor = Anchor(digest, f"the head that {identity} signed")
                return _Judged(path, seq, f"signed by {identity} with {key}; {when}", anchor)
        owners = ssh.principals(signature, self._signers, at_any_time=True)
        wanted = [one for one in owners if one in self._identities]
        if not wanted:
            who = (
                (f"signed by {', '.join(owners)}, whose signature was not asked for")
                if owners
                else "signed by a stranger"
            )
            return _Judged(path, seq, f"{who}, with {key}: does not count", harmless=True)
        what = f"signed by {wanted[0]} with {key}, which "
        fits = self._check(message, signature, wanted[0], None, ever=True)
        if not fits and self._check(message, signature, wanted[0], None, ever=True, revoked=False):
            return _Judged(path, seq, f"{what}is revoked: does not count")
        if entry is None and fits:
            cut = Anchor(digest, f"the head that {wanted[0]} signed")
            return _Judged(path, seq, f"{what}is not valid now; the head is not in the chain", cut=cut)
        when = f" at {entry.at}, the time of entry {entry.seq}," if entry else ""
        return _Judged(path, seq, f"{what}was not valid{when} and is not valid now: does not count")

    def _holds(self, message: bytes, signature: Path, identity: str, entry: Entry | None) -> str:
        """The time by which an identity's signature is valid; empty if it is not."""
        with suppress(
            ValueError, OverflowError
        ):  # of an entry with another time than ours only today's clock can say it
            if entry and self._check(message, signature, identity, datetime.fromisoformat(entry.at)):
                return f"judged at {entry.at}, the time of entry {entry.seq} by {self._clock(entry)}"
        if self._check(message, signature, identity, None):
            return "judged now, by the clock of this machine"
        return ""

    def _check(
        self,
        message: bytes,
        signature: Path,
        identity: str,
        at: datetime | None,
        *,
        ever: bool = False,
        revoked: bool = True,
    ) -> bool:
        keys = self._revoked if revoked else None
        check = ssh.verify_ever if ever else partial(ssh.verify_signature, at=at)
        found = check(message, signature, self._signers, NAMESPACE, identity, revoked=keys)
        return found.returncode == 0

    def _clock(self, entry: Entry) -> str:
        """Whose clock an entry's time is from; nothing else confirms it."""
        process = read_mapping(self._records / str(entry.run) / OPENING).get("process") if entry.run else None
        host = process.get("host") if isinstance(process, dict) else None
        return f"the clock of {host}" if host else "the clock of the machine that made it"
