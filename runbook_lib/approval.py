"""Approvals: which plan may be applied, who approved it, and how that is known.

An approver is ``claimed`` (a name that the operator typed) or has signed the plan's digest with an
SSH key of the site's allowed signers. A signature proves that the key's holder signed; not that two
people sat at two keyboards: an operator who holds the other's private key, or who may write the
allowed signers, can approve alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import ssh
from .context import Context
from .errors import ApprovalError, InputError, RunbookError
from .lock import claimed_users, user, whoami
from .paths import current_folder, locate, looked_for
from .plan import Plan

#: Apart from the namespace of signed records: a signature of the one is never one of the other.
NAMESPACE = "runbook-plan"
SIGNED, CLAIMED = "ssh signature", "claimed"


@dataclass(frozen=True)
class Approval:
    """A plan that may be applied, and for the record who approved it: ``who``, ``how``, ``key``."""

    plan: Plan
    by: dict[str, str]


def approval_of(
    context: Context,
    target: Mapping[str, str],
    plan_file: str | None,
    approved_plan: str | None,
    approved_by: str | None,
) -> Approval | None:
    """Return what was approved; ``None`` for an auto-approval. Sends no request.

    Parameters
    ----------
    target
        What the plan must be for.
    plan_file, approved_plan, approved_by
        The plan's file, the digest that was approved, by whom. A signature (``plan_file`` and
        ``.sig``) stands for the last two; where they are given as well, they must fit it.

    Raises ``InputError`` for a plan's file that cannot be read, ``ApprovalError`` for an approval
    that is missing or does not hold.
    """
    policies = context.site.policies
    if plan_file is None and (approved_plan or approved_by):
        raise InputError(
            ["plan_file: is missing: an approval is for a plan, so give the plan's file as well"]
        )
    if plan_file is None:
        if policies.approval != "none":
            raise ApprovalError(
                f"site {context.site.name} asks for approval: {policies.approval}, and no plan was given",
                meaning="nothing was sent",
                next_step="make a plan (runbook plan), have it approved, and give it with its digest",
            )
        return None
    path = locate(plan_file, current_folder(), context.root)
    if path is None:
        looked = looked_for(plan_file, current_folder(), context.root)
        raise InputError([f"plan_file: there is no file {looked}"])
    plan, signature, by = read_plan(path), signature_of(path), None
    _refuse_another(context, target, plan)
    if policies.approval == "two-person" and not signature.is_file():
        raise _refused(f"the plan is not signed: there is no {signature.name} beside it")
    if policies.approval != "none" and policies.allowed_signers and signature.is_file():
        by = _signer(plan, signature, policies.allowed_signers.path(context.root))
        approved_plan, approved_by = approved_plan or plan.digest, approved_by or by["who"]
        if approved_by != by["who"]:
            raise _refused(f"approved_by says {approved_by}, and {by['who']} signed")
    if not approved_plan:
        raise _refused("approved_plan is missing: give the digest that was approved")
    if not approved_by:
        raise _refused("approved_by is missing: say who approved the plan")
    if approved_plan != plan.digest:
        raise _refused("the plan is not the approved one: its digest is another")
    return Approval(plan, by or {"who": approved_by, "how": CLAIMED})


def read_plan(path: Path) -> Plan:
    """Read a plan's file; ``InputError`` when it cannot be read, ``ApprovalError`` when it is not one."""
    try:
        return Plan.from_document(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError([f"plan_file: {path} cannot be read ({error.strerror})"]) from None
    except ValueError as error:
        raise ApprovalError(
            f"plan_file: {path}: {error}", meaning="nothing was sent", next_step="plan again"
        ) from None


def signature_of(plan_file: Path) -> Path:
    """Where the signature of a plan's file lies: beside it."""
    return plan_file.with_name(f"{plan_file.name}.sig")


def sign_plan(plan_file: Path, plan: Plan, key: Path) -> Path:
    """Sign a plan's digest with an SSH key; return the signature's file, which is never overwritten.

    Raises ``InputError`` when there is a signature already, ``RunbookError`` when ``ssh-keygen`` refuses.
    """
    path = signature_of(plan_file)
    if path.exists():
        raise InputError([f"{path.name} is there already: a signature is not overwritten"])
    signed = ssh.sign(_message(plan), key, NAMESPACE)
    if signed.returncode != 0:
        raise RunbookError(
            f"ssh-keygen could not sign with {key}: {ssh.last_line(signed.stderr)}",
            meaning="the plan is not approved",
            next_step="give the private key, or the public one of a key that the SSH agent holds (--key)",
        )
    with path.open("xb") as file:
        file.write(signed.stdout)
    return path


def _refuse_another(context: Context, target: Mapping[str, str], plan: Plan) -> None:
    if plan.target != target:
        raise _refused("the plan was made for another target (sandbox or live, account, PBX)")
    if plan.tenant != context.tenant.name:
        raise _refused(f"the plan was made for tenant {plan.tenant}")
    if plan.secrets != context.settings.secret_references():
        raise _refused("the plan names other secrets")


def _signer(plan: Plan, signature: Path, allowed_signers: Path) -> dict[str, str]:
    """Who signed a plan's digest, by the allowed signers; never the operator."""
    message = _message(plan)
    key = ssh.signing_key(message, signature, NAMESPACE)
    if key is None:
        raise _refused(f"{signature.name} is not a signature of this plan's digest as {NAMESPACE}")
    names = ssh.principals(signature, allowed_signers)
    if not names:
        raise _refused(f"no allowed signer has the key {key} now ({allowed_signers.name})")
    vague = next((name for name in names if set(name) & set("*?!")), None)
    if vague:
        raise _refused(f"the allowed signers give the key {key} to {vague}, which names no one person")
    check = ssh.verify(message, signature, allowed_signers, NAMESPACE, names[0])
    if check.returncode != 0:
        raise _refused(f"the signature by {names[0]} does not hold: {ssh.last_line(check.stderr)}")
    # A line that has expired gives no leave, but still says whose key it is.
    ever = ssh.principals(signature, allowed_signers, at_any_time=True)
    operator = next((name for name in ever if _is_operator(name)), None)
    if operator:
        raise _refused(f"{operator} signed, and is the operator ({whoami()}): another person has to")
    if key in ssh.own_keys():
        raise _refused(f"the key {key} that signed is one of the operator's own: another person has to sign")
    return {"who": names[0], "how": SIGNED, "key": key}


def _is_operator(principal: str) -> bool:
    """By the user's name alone: hosts and mail domains of one person differ."""
    names = {name.casefold() for name in (user(), *claimed_users())}
    return principal.partition("@")[0].partition("+")[0].casefold() in names


def _message(plan: Plan) -> bytes:
    return f"{plan.digest}\n".encode()


def _refused(problem: str) -> ApprovalError:
    return ApprovalError(
        problem, meaning="nothing was sent", next_step="plan again and have that plan approved"
    )
