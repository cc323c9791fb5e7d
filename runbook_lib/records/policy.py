"""The policy under which a target was changed: kept in every opening, and never weaker unnoticed.

A site file is an argument of the person whom its policies control. So a live run's policy is held
against the strictest one that the records have for its Twilio account or its PBX, and against a floor
that only root can write. A new records folder knows nothing: there, only the floor counts.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from .. import ssh
from ..errors import ApprovalError, InputError, RunbookError
from ..identity import plain_identities
from ..parameters import Site
from ..plain_files import parse_mapping, read
from ..plan import canonical
from ..secret import scrub_data
from .chain import OPENED, Chain, Entry, digest_of, digest_of_file, unreadable
from .errors import RecordError
from .result import now

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
            signers = None  # as good as none; said where a signature is checked
    return {
        "approval": policies.approval,
        "approvers": policies.approvers,
        "approval_valid": policies.approval_valid,
        "emergency": policies.emergency,
        "ticket": policies.ticket,
        "allowed_signers": signers,
    }


def weaker(pinned: Mapping[str, Any], policy: Mapping[str, Any]) -> list[str]:
    """Return in what a policy is weaker than a pinned one, in words.

    Of the pinned one any part can be missing. Which of two regular expressions, or of two files of
    signers, is the stricter one nobody can tell: another one counts as weaker.
    """
    found = []
    if APPROVALS.index(policy["approval"]) < APPROVALS.index(pinned.get("approval", "none")):
        found.append(f"approval: {policy['approval']}, before {pinned['approval']}")
    if policy["approvers"] < pinned.get("approvers", 1):
        found.append(f"approvers: {policy['approvers']}, before {pinned['approvers']}")
    if policy["approval_valid"] > pinned.get("approval_valid", policy["approval_valid"]):
        found.append(f"approval_valid: {policy['approval_valid']}, before {pinned['approval_valid']}")
    if policy["emergency"] and not pinned.get("emergency", True):
        found.append("emergency: allowed, before not")
    for name in ("ticket", "allowed_signers"):
        if pinned.get(name) is not None and policy[name] != pinned[name]:
            found.append(f"{name}: {policy[name] or 'none'}, before {pinned[name]}")
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


def pinned_policy(records: Path, entries: Sequence[Entry], target: Mapping[str, str]) -> dict[str, Any]:
    """Return the strictest policy that the records have for a target's Twilio account or PBX; or ``{}``.

    Each opening and each change of policy carries what was pinned until then, so that the newest for
    the account and the newest for the PBX stand for all.
    """
    found: dict[str, Any] = {}
    missing = {"twilio_account", "pbx"}
    for entry in reversed(entries):
        if entry.event not in (OPENED, POLICY) or not missing:
            continue
        try:
            told = _content(records, entry)
        except RecordError:
            if target.get("target") == LIVE:
                raise
            continue  # the sandbox shows and does not refuse; records verify names the file
        targets = told.get("target") if isinstance(told.get("target"), dict) else {}
        same = {key for key in missing if targets.get(key) == target.get(key)}
        pin = told.get("pinned_policy")
        if targets.get("target") == target.get("target") and same and isinstance(pin, dict):
            found = stricter(found, pin)
            missing -= same
    return found


def _content(records: Path, entry: Entry) -> dict[str, Any]:
    """The file of an entry, as it was entered; empty for one that is gone, which ``verify`` names."""
    try:
        content = read(records / entry.file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise unreadable(error) from None
    if digest_of(content) != entry.content:
        raise RecordError(
            f"{entry.file} is not as it was recorded",
            meaning="it cannot be told which policy was in force; nothing was sent",
            next_step="look at all records with: runbook records verify",
        )
    return parse_mapping(content)


def pin(
    records: Path, entries: Sequence[Entry], target: Mapping[str, str], policy: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an opening keeps of the policy, and whether it was seen before.

    Raises ``ApprovalError`` on a live target when the policy is weaker than the pinned one.
    """
    pinned = pinned_policy(records, entries, target)
    less = weaker(pinned, policy)
    if less and target.get("target") == LIVE:
        raise ApprovalError(
            f"the site's policy is weaker than the one that the records have: {'; '.join(less)}",
            meaning="nothing was sent",
            next_step="use the site file of before; if the change is wanted: runbook records policy",
        )
    seen = Seen.WEAKER if pinned and less else Seen.UNCHANGED if pinned else Seen.FIRST
    told = {
        Seen.FIRST: "policy first seen here",
        Seen.UNCHANGED: "as before or stricter",
        Seen.WEAKER: "weaker than before: " + "; ".join(less),
    }
    return {
        "policy": dict(policy),
        "pinned_policy": stricter(pinned, policy),
        "policy_seen": told[seen],
        "policy_compared": str(seen),
    }


def change_policy(
    records: Path, site: Site, root: Path, reason: str, old: OldSigner | None = None
) -> list[Entry]:
    """Enter the policy that counts from now on for a site's Twilio accounts and its PBX.

    Where two persons had to approve, a weaker policy has to be signed by an allowed signer of before.
    Raises ``ApprovalError`` without that, ``InputError`` when the signers are not those of before.
    """
    policy, chain, entries = policy_of(site, root), Chain(records), list[Entry]()
    targets = [
        {
            "target": site.target,
            "site": site.name,
            "twilio_account": account.account_sid,
            "pbx": site.pbx.url or "sandbox",
        }
        for account in site.twilio_accounts.values()
    ]
    with chain.held():
        for target, before in [(one, pinned_policy(records, chain.entries(), one)) for one in targets]:
            statement = {"target": target, "policy": policy, "before": before, "reason": reason}
            less, signed = weaker(before, policy), {}
            if less and before.get("approval") == "two-person":
                signed = _signed(canonical(statement).encode(), before, old)
            told = {"format": 1, "at": now(), "by": plain_identities(), **statement, "weaker": less, **signed}
            entries.append(chain.record(POLICY, None, scrub_data({**told, "pinned_policy": policy})))
    return entries


@dataclass(frozen=True)
class OldSigner:
    """Who signs that a policy becomes weaker: the key, and the allowed signers as they were before."""

    key: Path
    allowed_signers: Path


def _signed(message: bytes, before: Mapping[str, Any], old: OldSigner | None) -> dict[str, str]:
    """The signature of an allowed signer of before, as the event keeps it."""
    if old is None:
        raise ApprovalError(
            "the policy asked for two persons, and the new one is weaker",
            meaning="nothing was entered",
            next_step="have an allowed signer of before run this, with --key and --allowed-signers",
        )
    if digest_of_file(old.allowed_signers) != before["allowed_signers"]:
        raise InputError([f"--allowed-signers: {old.allowed_signers} is not the file of before"])
    made = ssh.sign(message, old.key, NAMESPACE)
    if made.returncode != 0:
        raise InputError([f"--key: ssh-keygen could not sign with {old.key}: {ssh.last_line(made.stderr)}"])
    with NamedTemporaryFile() as file:
        file.write(made.stdout)
        file.flush()
        for name in ssh.principals(Path(file.name), old.allowed_signers):
            if ssh.verify(message, Path(file.name), old.allowed_signers, NAMESPACE, name).returncode == 0:
                return {"signed_by": name, "signature": made.stdout.decode()}
    raise ApprovalError(
        f"{old.key} is no key of an allowed signer of before",
        meaning="nothing was entered",
        next_step="have one of them run this",
    )


def require_floor(target: Mapping[str, str], policy: Mapping[str, Any], path: Path = FLOOR) -> None:
    """Raise ``ApprovalError`` when a live site's policy is weaker than the machine's; see ``FLOOR``.

    Raises ``RunbookError`` for a floor that others than root can write, or that cannot be read: nobody
    knows then what it says.
    """
    if target.get("target") != LIVE:
        return
    try:
        status = path.stat()
        floor = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read ({type(error).__name__})") from None
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(path, "can be written by others than root")
    if wrong := _not_a_floor(floor):
        raise _unusable(path, f"says what nobody understands: {', '.join(sorted(wrong))}")
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
        meaning="it is the floor under every site's policy; nothing was sent",
        next_step="have root put it right",
    )
