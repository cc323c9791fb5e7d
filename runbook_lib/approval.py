"""Approvals: which plan may be applied, who approved it, and how that is known.

An approver is ``claimed`` (a name that the operator typed) or has signed a statement with an SSH key
of the site's allowed signers: see ``statement`` for its content, ``records.uses`` for how often it can be
used. A signature proves that the key's holder signed, not that two people did: an
operator who has the other's private key, or can write the allowed signers, can approve alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypedDict

from . import ssh
from .context import Context
from .errors import ApprovalError, InputError, RunbookError
from .identity import identities, person, persons
from .lock import whoami
from .paths import current_folder, locate, looked_for
from .plain_files import SMALL, describe, read, require_plain
from .plan import Plan, Slice
from .records.chain import Chain, Entry, digest_of
from .records.record import EMERGENCY, TICKET
from .records.result import RUN_FOLDER
from .records.run_folder import APPROVED, SIGNERS, STATEMENT, signature_names
from .records.uses import latest_time, refuse_revoked
from .statement import CONFIRMED, NAMESPACE, SIGNED, Statement, Use, unknown_sections

CLAIMED, SELF = "claimed", "self-approved, claimed"
NOT_APPROVED = "emergency, not approved"
SUFFIX = ".approval.json"
#: The approval of several plans, beside the first of them.
SEVERAL = f"plans{SUFFIX}"
#: How far the approver's clock may be ahead of the operator's.
SKEW = timedelta(minutes=2)


@dataclass(frozen=True)
class Approval:
    """A plan that may be applied, and for the record who approved it: ``who``, ``how``, ``key``.

    ``plan`` is ``None`` for an emergency without one.
    ``use`` is the part of a signed statement that a run uses, ``files`` what its record keeps, by name.
    """

    plan: Plan | None
    by: dict[str, str]
    use: Use | None = None
    files: dict[str, bytes] = field(default_factory=dict)


class GivenApproval(TypedDict, total=False):
    """An approval as parameters give it; see ``approval_of``."""

    plan_file: str | None
    approved_plan: str | None
    approved_by: str | None
    approval_file: str | None


def approval_of(
    context: Context,
    target: Mapping[str, str],
    plan_file: str | None,
    approved_plan: str | None,
    approved_by: str | None,
    approval_file: str | None = None,
) -> Approval | None:
    """Return what was approved; ``None`` for an auto-approval. Sends no request.

    Parameters
    ----------
    target
        What the plan must be for.
    plan_file, approved_plan, approved_by
        The plan's file, the digest that was approved, by whom. A signed statement replaces the last
        two; if they are given as well, they must match it.
    approval_file
        The statement; without it, the newest beside the plan's file that names this plan.

    Raises ``InputError`` for a file that cannot be read, ``ApprovalError`` for an approval that is
    missing or invalid.
    """
    policies = context.site.policies
    if plan_file is None and (approved_plan or approved_by or approval_file):
        raise InputError(
            ["plan_file: is missing: an approval needs its plan, so give the plan's file as well"]
        )
    if emergency := os.environ.get(EMERGENCY):
        return _emergency(context, target, plan_file, emergency)
    if plan_file is None:
        _require_ticket(context, os.environ.get(TICKET))
        if policies.approval != "none":
            raise ApprovalError(
                f"site {context.site.name} requires approval ({policies.approval}), but no plan was given",
                meaning="nothing was sent",
                next_step="save a plan (runbook plan --out), have it approved, and pass it with --plan",
            )
        return None
    path = _located("plan_file", plan_file, context.root)
    plan = read_plan(path)
    _refuse_another(context, target, plan)
    found = _statement_for(plan, path, approval_file, context.root)
    if policies.approval == "none" and approval_file is None:
        found = None  # not needed
    if (found is None and policies.approval == "two-person") or (
        found is None and not approved_plan and old_signature_of(path).is_file()
    ):
        raise _not_approved(path)
    approval = None
    if found is not None:
        if policies.allowed_signers is None:
            raise InputError(
                ["site.policies.allowed_signers: is missing: it lists the people whose signatures count"]
            )
        approval = _signed_approval(context, plan, found, policies.allowed_signers.path(context.root))
        approved_plan, approved_by = approved_plan or plan.digest, approved_by or approval.by["who"]
        if approved_by != approval.by["who"]:
            raise _refused(f"approved_by says {approved_by}, but {approval.by['who']} signed")
    if not approved_plan:
        raise _refused("approved_plan is missing: give the digest that was approved")
    if not approved_by:
        raise _refused("approved_by is missing: say who approved the plan")
    if approved_plan != plan.digest:
        raise _refused("this is not the approved plan: the digests differ")
    _require_ticket(context, approval.by["ticket"] if approval else os.environ.get(TICKET))
    if approval is not None:
        return approval
    own = person(approved_by) in {person(one.name) for one in identities()}
    self_made = CONFIRMED if policies.approval == "none" else SELF
    return Approval(plan, {"who": approved_by, "how": self_made if own else CLAIMED}, files=_kept(plan))


def refuse_out_of_time(context: Context, use: Use) -> None:
    """Raise ``ApprovalError`` when an approval has ended, by this clock or the vendors' known ones."""
    entries = Chain(context.records.parent).entries()
    time = latest_time(entries, context.journal.clocks.latest())
    _refuse_outside_window(use.statement, context.site.policies.approval_valid, time)


def read_plan(path: Path) -> Plan:
    """Read a plan's file; ``InputError`` when it cannot be read, ``ApprovalError`` when it is not one."""
    try:
        plan = Plan.from_document(json.loads(path.read_text(encoding="utf-8")))
        if unknown := unknown_sections(plan):
            raise ValueError(f"the guide has no section {', '.join(unknown)}")
    except OSError as error:
        raise InputError([f"plan_file: {path} cannot be read ({error.strerror})"]) from None
    except ValueError as error:
        raise ApprovalError(
            f"plan_file: {path}: {error}", meaning="nothing was sent", next_step="make a new plan"
        ) from None
    return plan


def read_statement(path: Path) -> tuple[Statement, bytes]:
    """Read an approval; ``InputError`` when it cannot be read, ``ApprovalError`` when it is not one."""
    try:
        content = read(path, SMALL)
        return Statement.parse(content), content
    except OSError as error:
        raise InputError([f"the approval cannot be read ({describe(error)})"]) from None
    except ValueError as error:
        raise ApprovalError(
            f"{path}: {error}", meaning="nothing was sent", next_step="have the plan approved again"
        ) from None


def approval_beside(plan_file: Path) -> Path:
    """Return the path for the approval of one plan's file: beside it."""
    return plan_file.with_name(plan_file.name.removesuffix(".json").removesuffix(".plan") + SUFFIX)


def old_signature_of(plan_file: Path) -> Path:
    """Return the path at which older runbooks wrote a signature over the plan's digest alone."""
    return plan_file.with_name(f"{plan_file.name}.sig")


def sign_statement(path: Path, statement: Statement, key: Path) -> Path:
    """Write a statement and its first signature, or add a signature to an existing statement.

    Returns the signature's file. Raises ``InputError`` if another statement already exists,
    ``RunbookError`` if ``ssh-keygen`` refuses; nothing is written then.
    """
    there = path.exists()
    if there and read_statement(path)[0] != statement:
        raise InputError(
            [f"{path} already exists, and approvals are never overwritten: give another file with --out"]
        )
    signed = ssh.sign_message(statement.content, key, NAMESPACE)
    if signed.returncode != 0:
        raise RunbookError(
            f"ssh-keygen could not sign with {key}: {ssh.last_line(signed.stderr)}",
            meaning="the plan is not approved",
            next_step="give the private key, or the public half of a key in the SSH agent (--key)",
        )
    signature = next(one for one in signature_names(path) if not os.path.lexists(one))
    with signature.open("xb") as file:
        file.write(signed.stdout)
    if not there:
        with path.open("xb") as file:
            file.write(statement.content)
    return signature


def _statement_for(plan: Plan, plan_file: Path, approval_file: str | None, root: Path) -> Path | None:
    """The statement that approves a plan: the one of this process's run, the given one, or one beside it."""
    if given := os.environ.get(RUN_FOLDER):
        kept = Path(given) / STATEMENT
        if kept.exists():
            return kept
    if approval_file is not None:
        return _located("approval", approval_file, root)
    found = []
    for path in sorted(plan_file.parent.glob(f"*{SUFFIX}")):
        try:
            statement = Statement.parse(read(path, SMALL))
        except (OSError, ValueError):
            continue  # somebody else's file
        if any(line.plan == plan.id for line in statement.lines):
            found.append((statement.not_before, path))
    return max(found)[1] if found else None


def _signed_approval(context: Context, plan: Plan, path: Path, allowed_signers: Path) -> Approval:
    """What a signed statement allows; everything is checked except whether it was used already."""
    statement, content = read_statement(path)
    line = statement.line(plan)
    if line is None:
        raise _refused(f"{path.name} does not approve this plan (id, digest, tenant and kind)")
    if statement.site != context.site.name:
        raise _refused(f"the approval is for site {statement.site}")
    signatures = [one for one in signature_names(path) if one.exists()]
    by = _signers(content, signatures, allowed_signers, plan, context.site.policies.approvers)
    records = context.records.parent
    entries = Chain(records).entries()
    _refuse_another_register(statement, plan, entries)
    refuse_revoked(records, entries, statement.id)
    _refuse_outside_window(statement, context.site.policies.approval_valid, latest_time(entries))
    typed = os.environ.get(TICKET)
    if typed and typed != statement.ticket:
        raise _refused(f"the approval is for ticket {statement.ticket}, but the run is for {typed}")
    kept = zip(signature_names(Path(STATEMENT)), signatures, strict=False)
    files = _kept(plan) | {STATEMENT: content, **{name.name: one.read_bytes() for name, one in kept}}
    # So that who reads the record can check the signatures without the site's file.
    lines = [line for one in signatures for line, _ in ssh.lines_of(one, allowed_signers)]
    files[SIGNERS] = b"".join(line + b"\n" for line in dict.fromkeys(lines))
    # A signature has no time: the statement begins when its first signer made it, by that one's clock.
    who = {**by, "approval": statement.id, "ticket": statement.ticket, "at": statement.not_before}
    return Approval(plan, who, Use(statement, line, digest_of(content)), files)


def _emergency(context: Context, target: Mapping[str, str], plan_file: str | None, reason: str) -> Approval:
    """What may be applied without an approval, if the site allows that; it is reviewed afterwards."""
    policies = context.site.policies
    if policies.approval == "none":
        raise InputError(
            [f"emergency: site {context.site.name} requires no approval: run it without --emergency"]
        )
    if not policies.emergency:
        raise ApprovalError(
            f"site {context.site.name} does not allow an emergency run without approval",
            meaning="nothing was sent",
            next_step="have the plan approved",
        )
    _require_ticket(context, os.environ.get(TICKET))
    by = {"who": whoami(), "how": NOT_APPROVED, "reason": reason}
    if plan_file is None:
        return Approval(None, by)
    plan = read_plan(_located("plan_file", plan_file, context.root))
    _refuse_another(context, target, plan)
    return Approval(plan, by, files=_kept(plan))


def _kept(plan: Plan) -> dict[str, bytes]:
    """The plan as its record keeps it: the approved rows, without those that are not compared."""
    approved = replace(plan, slices=tuple(Slice(part.section, part.changing) for part in plan.slices))
    document = json.dumps(approved.to_document(), indent=1, ensure_ascii=False)
    return {APPROVED[0]: f"{document}\n".encode()}


def _refuse_another(context: Context, target: Mapping[str, str], plan: Plan) -> None:
    if plan.target != target:
        raise _refused("the plan was made for another target (sandbox or live, account, PBX)")
    if plan.tenant != context.owner.name:
        raise _refused(f"the plan was made for tenant {plan.tenant}")
    if plan.secrets != context.settings.secret_references():
        raise _refused("the plan refers to different secrets")


def _refuse_another_register(statement: Statement, plan: Plan, entries: Sequence[Entry]) -> None:
    first = entries[0] if entries else None
    if statement.register is None:
        # Made before the folder had a chain: it has none, or one that began after the plan was made.
        fits = first is None or first.at >= plan.created
    else:
        fits = first is not None and first.digest == statement.register
    if not fits or plan.register != statement.register:
        raise _refused("the approval is for another records folder")


def _refuse_outside_window(statement: Statement, days: int, time: datetime) -> None:
    end = statement.end(days)
    if time > end:
        raise _refused(f"the approval ended on {end.isoformat()}")
    if time + SKEW < datetime.fromisoformat(statement.not_before):
        raise _refused(f"the approval begins on {statement.not_before}")


def _require_ticket(context: Context, ticket: str | None) -> None:
    rule = context.site.policies.ticket
    if rule and not re.fullmatch(rule, ticket or ""):
        raise InputError(
            [f"ticket: {ticket or 'none'} given, but site {context.site.name} requires one like {rule}"],
            next_step="pass it with --ticket or RUNBOOK_TICKET",
        )


def _signers(
    message: bytes, signatures: Sequence[Path], allowed_signers: Path, plan: Plan, wanted: int
) -> dict[str, str]:
    """Who signed, as many as are required: different keys and different people.

    An invalid signature is ignored if enough others are valid.
    """
    if not signatures:
        raise _refused("the approval is not signed: there is no .sig beside it")
    found: dict[str, list[str]] = {}
    refusals: list[ApprovalError] = []
    for signature in signatures:
        try:
            key, names = _signer(message, signature, allowed_signers, plan)
        except ApprovalError as error:
            refusals.append(error)
            continue
        if key not in found and not any(_persons(names) & _persons(others) for others in found.values()):
            found[key] = names
    if len(found) < wanted:
        if refusals:
            raise refusals[0]
        raise _refused(f"{wanted} approvers must sign, each with their own key, but only {len(found)} did")
    who = ", ".join(names[0] for names in found.values())
    return {"who": who, "how": SIGNED, "key": ", ".join(found)}


def _signer(message: bytes, signature: Path, allowed_signers: Path, plan: Plan) -> tuple[str, list[str]]:
    """The key of a signature and its owner among the allowed signers; never the operator or the author."""
    try:
        require_plain(signature, SMALL)
    except OSError as error:
        raise _refused(f"{signature.name} cannot be read ({error.strerror})") from None
    key = ssh.signing_key(message, signature, NAMESPACE)
    if key is None:
        raise _refused(f"{signature.name} is not a signature of this approval as {NAMESPACE}")
    names = ssh.principals(signature, allowed_signers)
    if not names:
        raise _refused(f"the key {key} belongs to no allowed signer at present ({allowed_signers.name})")
    vague = next((name for name in names if set(name) & set("*?!")), None)
    if vague:
        raise _refused(
            f"in {allowed_signers.name}, the key {key} belongs to {vague}, which is not the name "
            "of one person"
        )
    check = ssh.verify_signature(message, signature, allowed_signers, NAMESPACE, names[0])
    if check.returncode != 0:
        raise _refused(f"the signature by {names[0]} is not valid: {ssh.last_line(check.stderr)}")
    # An expired line grants nothing, but still says whose key it is.
    ever = ssh.principals(signature, allowed_signers, at_any_time=True)
    for one in identities():
        if same := next((name for name in ever if person(name) == person(one.name)), None):
            known = f"{one.name}, by {one.kind}, {one.known}"
            raise _refused(
                f"{same} signed and is the operator ({whoami()}; {known}): another person must sign"
            )
    if authors := _persons(ever) & persons(plan.author):
        raise _refused(f"{', '.join(authors)} signed and made the plan: another person must sign")
    if key in ssh.own_keys():
        raise _refused(f"the signature's key {key} is the operator's own: another person must sign")
    return key, names


def _persons(names: Iterable[str]) -> set[str]:
    return {person(name) for name in names}


def _located(what: str, file: str, root: Path) -> Path:
    path = locate(file, current_folder(), root)
    if path is None:
        raise InputError([f"{what}: there is no file {looked_for(file, current_folder(), root)}"])
    return path


def _not_approved(plan_file: Path) -> ApprovalError:
    old = old_signature_of(plan_file)
    if old.is_file():
        return ApprovalError(
            f"{old.name} signs only the plan's digest, with no ticket and no expiry: this is no longer valid",
            meaning="nothing was sent",
            next_step=f"approve again: runbook approve {plan_file.name} --ticket TICKET",
        )
    return _refused(f"the plan is not signed: there is no *{SUFFIX} for it beside it")


def _refused(problem: str) -> ApprovalError:
    return ApprovalError(
        problem, meaning="nothing was sent", next_step="make a new plan and have it approved"
    )
