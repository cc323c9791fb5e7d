"""The policy under which a target was changed: kept in every opening, and never weakened unnoticed.

The site file is supplied by the very person whom its policies control. So a live run's policy is compared
with the strictest one that the records have for its Twilio account or its PBX, and with a minimum (floor)
that only root can write. A new records folder knows no policy: there, only the floor counts.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from .. import ssh
from ..errors import ApprovalError, InputError, RunbookError
from ..identity import plain_identities
from ..plain_files import parse_mapping, read
from ..plan import canonical
from ..secret import scrub_data
from .chain import CLOSED, OPENED, Chain, Entry, digest_of, digest_of_file, unreadable
from .errors import RecordError
from .result import now

if TYPE_CHECKING:
    from ..parameters import Site

POLICY = "policy"
NAMESPACE = "runbook-policy"
FLOOR = Path("/etc/portsip-runbook/policy.toml")
APPROVALS = ("none", "required", "two-person")
LIVE = "live"


class Seen(StrEnum):
    """How an opening's policy compares with those that the records have: a word of the opening."""

    FIRST = "first"
    UNCHANGED = "unchanged"
    WEAKER = "weaker"


def policy_of(site: Site, root: Path) -> dict[str, Any]:
    """Return a site's policy as plain data, with the digest of its allowed signers."""
    policies, signers = site.policies, None
    if policies.allowed_signers is not None:
        try:
            signers = digest_of(policies.allowed_signers.path(root).read_bytes())
        except OSError:
            signers = None  # counts as none; reported where a signature is checked
    return {
        "approval": policies.approval,
        "approvers": policies.approvers,
        "approval_valid": policies.approval_valid,
        "emergency": policies.emergency,
        "ticket": policies.ticket,
        "allowed_signers": signers,
    }


def target_of(site: Site, account_sid: str) -> dict[str, str]:
    """Return what a run at a site is for: sandbox or live, the site, one of its Twilio accounts, its PBX."""
    return {
        "target": site.target,
        "site": site.name,
        "twilio_account": account_sid,
        "pbx": site.pbx.url or "sandbox",
    }


def weaker(pinned: Mapping[str, Any], policy: Mapping[str, Any]) -> list[str]:
    """Return the points in which a policy is weaker than a pinned one, in words.

    Any part of the pinned one can be missing. It cannot be decided which of two regular expressions, or
    of two files of signers, is stricter: a different one counts as weaker.
    """
    found = []
    if APPROVALS.index(policy["approval"]) < APPROVALS.index(pinned.get("approval", "none")):
        found.append(f"approval: {policy['approval']}, previously {pinned['approval']}")
    if policy["approvers"] < pinned.get("approvers", 1):
        found.append(f"approvers: {policy['approvers']}, previously {pinned['approvers']}")
    if policy["approval_valid"] > pinned.get("approval_valid", policy["approval_valid"]):
        found.append(f"approval_valid: {policy['approval_valid']}, previously {pinned['approval_valid']}")
    if policy["emergency"] and not pinned.get("emergency", True):
        found.append("emergency: allowed, previously not")
    for name in ("ticket", "allowed_signers"):
        if pinned.get(name) is not None and policy[name] != pinned[name]:
            found.append(f"{name}: {policy[name] or 'none'}, previously {pinned[name]}")
    return found


def stricter(pinned: Mapping[str, Any], policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strictest of two policies, part by part."""
    if not pinned:
        return dict(policy)
    return {
        "approval": max(pinned["approval"], policy["approval"], key=APPROVALS.index),
        "approvers": max(pinned["approvers"], policy["approvers"]),
        "approval_valid": min(pinned["approval_valid"], policy["approval_valid"]),
        "emergency": pinned["emergency"] and policy["emergency"],
        "ticket": pinned["ticket"] or policy["ticket"],
        "allowed_signers": pinned["allowed_signers"] or policy["allowed_signers"],
    }


@dataclass(frozen=True)
class Pins:
    """The policies that are pinned in a records folder, by the Twilio account or PBX that each is for.

    ``whole`` is false when a file that may hold a stricter one could not be used.
    """

    policies: Mapping[str, Mapping[str, Any]]
    whole: bool = True

    def for_target(self, target: Mapping[str, str]) -> dict[str, Any]:
        """Return the strictest policy that is pinned for a target's account or PBX; or ``{}``."""
        found: dict[str, Any] = {}
        for key in _keys(target):
            found = stricter(found, pinned) if (pinned := self.policies.get(key)) else found
        return found

    def with_pin(self, target: Mapping[str, str], policy: Mapping[str, Any]) -> Pins:
        """Return the same with a policy pinned for a target's account and its PBX."""
        return Pins({**self.policies, **dict.fromkeys(_keys(target), policy)}, self.whole)

    @property
    def kept(self) -> dict[str, Any]:
        """What an entry's file keeps of them: nothing if something may be missing."""
        pins = [{"for": key, "policy": policy} for key, policy in self.policies.items()]
        return {"pins": pins} if self.whole else {}


def _keys(target: Mapping[str, str]) -> list[str]:
    return [f"{target.get('target')} {key} {target.get(key)}" for key in ("twilio_account", "pbx")]


def pins_of(records: Path, entries: Sequence[Entry], *, live: bool) -> Pins:
    """Return the pinned policies of a records folder.

    Every opening of an apply and every change of policy contains all of them, so the newest entry is
    enough. Entries of an older runbook contain only the policy for their target: they are read back
    to the first one that contains all.

    Raises ``RecordError`` for a live target when one of these files is missing or has changed: it may
    have contained a stricter policy. The sandbox does not refuse.
    """
    found: dict[str, Any] = {}
    whole = True
    for entry in reversed(entries):
        if entry.event not in (OPENED, POLICY):
            continue
        try:
            told = _content(records, entry, entries)
        except RecordError:
            if live:
                raise
            whole = False
            continue  # records verify names the file
        if isinstance(pins := told.get("pins"), list):
            return Pins({one["for"]: one["policy"] for one in pins} | found, whole)
        target, pin = told.get("target"), told.get("pinned_policy")
        if isinstance(target, dict) and isinstance(pin, dict):
            found = dict.fromkeys(_keys(target), pin) | found
    return Pins(found, whole)


def _content(records: Path, entry: Entry, entries: Sequence[Entry]) -> dict[str, Any]:
    """The file of an entry, as it was entered; empty for an opening that the runbook itself replaced."""
    try:
        content = read(records / entry.file)
    except FileNotFoundError:
        if _was_replaced(records, entry, entries):
            return {}
        raise _unknown_policy(f"{entry.file} is missing, but the chain lists it") from None
    except OSError as error:
        raise unreadable(error) from None
    if digest_of(content) != entry.content:
        raise _unknown_policy(f"{entry.file} has changed since it was recorded")
    return parse_mapping(content)


def _was_replaced(records: Path, entry: Entry, entries: Sequence[Entry]) -> bool:
    """Whether the chain says that a run's record was closed without its opening.

    So it was withheld because the opening held a secret. Whoever deletes an opening later does not
    change the checksums that the closing stands for.
    """
    closing = next((one for one in entries if one.event == CLOSED and one.run == entry.run), None)
    if entry.event != OPENED or closing is None:
        return False
    try:
        content = read(records / closing.file)
    except OSError:
        return False
    listed = parse_mapping(content).get("files")
    name = PurePosixPath(entry.file).name
    return digest_of(content) == closing.content and isinstance(listed, dict) and name not in listed


def _unknown_policy(what: str) -> RecordError:
    return RecordError(
        what,
        meaning="the policy in it is unknown and may be stricter than the site's; nothing was sent",
        next_step="restore that file from a copy of the records (runbook records verify lists every"
        " problem); if a withheld run was never closed, first: runbook records close RUN",
    )


def pin(
    records: Path, entries: Sequence[Entry], target: Mapping[str, str], policy: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an opening keeps of the policy, and whether it was seen before.

    Raises ``ApprovalError`` on a live target when the policy is weaker than the pinned one, ``RecordError``
    when that cannot be known.
    """
    pins = pins_of(records, entries, live=target.get("target") == LIVE)
    pinned = pins.for_target(target)
    less = weaker(pinned, policy)
    if less and target.get("target") == LIVE:
        raise ApprovalError(
            f"the site's policy is weaker than the one in the records: {'; '.join(less)}",
            meaning="nothing was sent",
            next_step="use the previous site file; if the change is intended: runbook records policy",
        )
    seen = Seen.WEAKER if pinned and less else Seen.UNCHANGED if pinned else Seen.FIRST
    told = {
        Seen.FIRST: "policy first seen here",
        Seen.UNCHANGED: "as before or stricter",
        Seen.WEAKER: "weaker than before: " + "; ".join(less),
    }
    strictest = stricter(pinned, policy)
    return {
        "policy": dict(policy),
        "pinned_policy": strictest,
        "policy_seen": told[seen],
        "policy_compared": str(seen),
        **pins.with_pin(target, strictest).kept,
    }


def change_policy(
    records: Path, site: Site, root: Path, reason: str, old: OldSigner | None = None
) -> list[Entry]:
    """Enter the policy that applies from now on to a site's Twilio accounts and its PBX.

    If two people had to approve, a previously allowed signer must sign a weaker policy.
    Raises ``ApprovalError`` otherwise, ``InputError`` when the signers are not the previous ones.
    """
    policy, chain, entries = policy_of(site, root), Chain(records), list[Entry]()
    targets = [target_of(site, account.account_sid) for account in site.twilio_accounts.values()]
    with chain.held():
        known = pins = pins_of(records, chain.entries(), live=site.target == LIVE)
        for target in targets:
            before, pins = known.for_target(target), pins.with_pin(target, policy)
            statement = {"target": target, "policy": policy, "before": before, "reason": reason}
            less, signed = weaker(before, policy), {}
            if less and before.get("approval") == "two-person":
                signed = _signed(canonical(statement).encode(), before, old)
            told = {"format": 1, "at": now(), "by": plain_identities(), **statement, "weaker": less, **signed}
            told |= {"pinned_policy": policy, **pins.kept}
            entries.append(chain.record(POLICY, None, scrub_data(told)))
    return entries


@dataclass(frozen=True)
class OldSigner:
    """Who signs that a policy becomes weaker: the key, and the previous file of allowed signers."""

    key: Path
    allowed_signers: Path


def _signed(message: bytes, before: Mapping[str, Any], old: OldSigner | None) -> dict[str, str]:
    """The signature of a previously allowed signer, as the event keeps it."""
    if old is None:
        raise ApprovalError(
            "the previous policy required two people, and the new one is weaker",
            meaning="nothing was entered",
            next_step="have a previously allowed signer run this, with --key and --allowed-signers",
        )
    if digest_of_file(old.allowed_signers) != before["allowed_signers"]:
        raise InputError([f"--allowed-signers: {old.allowed_signers} is not the previous file"])
    made = ssh.sign_message(message, old.key, NAMESPACE)
    if made.returncode != 0:
        raise InputError([f"--key: ssh-keygen could not sign with {old.key}: {ssh.last_line(made.stderr)}"])
    with NamedTemporaryFile() as file:
        file.write(made.stdout)
        file.flush()
        for name in ssh.principals(Path(file.name), old.allowed_signers):
            if (
                ssh.verify_signature(
                    message, Path(file.name), old.allowed_signers, NAMESPACE, name
                ).returncode
                == 0
            ):
                return {"signed_by": name, "signature": made.stdout.decode()}
    raise ApprovalError(
        f"{old.key} does not belong to a previously allowed signer",
        meaning="nothing was entered",
        next_step="have one of those signers run this",
    )


def require_floor(target: Mapping[str, str], policy: Mapping[str, Any], path: Path | None = None) -> None:
    """Raise ``ApprovalError`` when a live site's policy is weaker than the machine's; see ``FLOOR``.

    Raises ``RunbookError`` for a floor that accounts other than root can write, or that cannot be read.
    """
    if target.get("target") != LIVE:
        return
    path = path or FLOOR
    try:
        status = path.stat()
        floor = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read ({type(error).__name__})") from None
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(path, "can be written by accounts other than root")
    if wrong := _not_a_floor(floor):
        raise _unusable(path, f"has unknown or wrong settings: {', '.join(sorted(wrong))}")
    if less := weaker(floor, policy):
        raise ApprovalError(
            f"the site's policy is weaker than {path} allows: {'; '.join(less)}",
            meaning="nothing was sent",
            next_step="make the site's policies as strict as that file",
        )


def _not_a_floor(floor: Mapping[str, Any]) -> Iterable[str]:
    kinds = {"approval": str, "ticket": str, "approvers": int, "approval_valid": int, "emergency": bool}
    wrong = {key for key, value in floor.items() if type(value) is not kinds.get(key)}
    return wrong | ({"approval"} if floor.get("approval", "none") not in APPROVALS else set())


def _unusable(path: Path, what: str) -> RunbookError:
    return RunbookError(
        f"{path} {what}",
        meaning="it is the minimum for every site's policy; nothing was sent",
        next_step="have root correct it",
    )
