"""The statement that an approver signs: which plans, for what, under which ticket, from when to when.

Values only: nothing here reads a file or runs a command.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .guide import RETIRE, ROLL_BACK, SECTIONS
from .plan import Plan

FORMAT = 1
#: Different from the namespace of signed heads, so that one signature can never count as the other.
NAMESPACE = "runbook-approval"
#: … and of the signatures over a plan's digest alone that older runbooks made.
OLD_NAMESPACE = "runbook-plan"
#: How a signer is known.
SIGNED = "ssh signature"
#: Of a site that asks for no approval: the operator confirmed this plan, and nobody else approved it.
CONFIRMED = "the operator's confirmation"
#: How many days an approval is valid, unless the site or the approver sets fewer.
VALID_DAYS = 7
APPLY, RETIREMENT = "apply", "retire"


@dataclass(frozen=True)
class Line:
    """One approved plan: its id and digest, the tenant or trunk, and its purpose.

    ``kind`` is ``"apply"``, ``"roll back RUN"`` or ``"retire"``.
    """

    plan: str
    digest: str
    tenant: str
    kind: str


@dataclass(frozen=True)
class Statement:
    """An approval as it is signed.

    ``not_before`` and ``not_after`` are UTC times, ISO 8601; ``register`` is the digest of the first
    entry of the chain in whose folder it may be used, ``None`` for plans made before there was one.
    """

    id: str
    site: str
    ticket: str
    not_before: str
    not_after: str
    register: str | None
    lines: tuple[Line, ...]

    @classmethod
    def over(cls, plans: Sequence[Plan], ticket: str, days: int = VALID_DAYS) -> Statement:
        """Return a statement over plans of one site and one records folder, valid from now.

        Raises ``ValueError``, naming what is wrong, for plans that one statement cannot cover.
        """
        if any(not plan.id for plan in plans):
            raise ValueError("a plan has no ID: an older runbook made it; make a new plan")
        if len({plan.id for plan in plans}) < len(plans):
            raise ValueError("a plan was given twice")
        if len({(plan.target.get("site"), plan.register) for plan in plans}) != 1:
            raise ValueError("the plans are for different sites or records folders: approve them one by one")
        begin = datetime.now(UTC).replace(microsecond=0)
        return cls(
            secrets.token_hex(16),
            plans[0].target.get("site", ""),
            ticket,
            begin.isoformat(),
            (begin + timedelta(days=days)).isoformat(),
            plans[0].register,
            tuple(Line(plan.id, plan.digest, plan.tenant, kind_of(plan)) for plan in plans),
        )

    @classmethod
    def parse(cls, content: bytes) -> Statement:
        """Read a statement's file; ``ValueError``, naming what is wrong, if it is not one."""
        try:
            data: Any = json.loads(content)
            if data["format"] != FORMAT:
                raise ValueError(
                    f"the approval was written in format {data['format']!r}; this runbook reads {FORMAT}:"
                    " use the runbook that wrote it"
                )
            found = cls(
                lines=tuple(Line(**line) for line in data["lines"]),
                **{key: value for key, value in data.items() if key not in ("format", "lines")},
            )
            texts = [found.id, found.site, found.ticket, found.not_before, found.not_after]
            texts += [found.register or "", *(text for line in found.lines for text in asdict(line).values())]
            if not all(isinstance(text, str) for text in texts) or not found.ticket:
                raise TypeError("not a text")
            for time in (found.not_before, found.not_after):
                if datetime.fromisoformat(time).tzinfo is None:
                    raise TypeError("a time without a zone")
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"this is not an approval ({type(error).__name__})") from None
        return found

    @property
    def content(self) -> bytes:
        """The content of the statement's file: the bytes that are signed."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n").encode()

    def line(self, plan: Plan) -> Line | None:
        """Return the line that approves a plan; ``None`` when there is none."""
        wanted = Line(plan.id, plan.digest, plan.tenant, kind_of(plan))
        return next((line for line in self.lines if line == wanted), None)

    def end(self, days: int) -> datetime:
        """Return when it ends: its own end, or the site's limit if that is earlier."""
        limit = datetime.fromisoformat(self.not_before) + timedelta(days=days)
        return min(datetime.fromisoformat(self.not_after), limit)


@dataclass(frozen=True)
class Use:
    """What a run uses: a statement, one line of it, and the digest of the statement's file."""

    statement: Statement
    line: Line
    digest: str

    def described(self) -> Mapping[str, Any]:
        """Return it as plain data, for the event of its use."""
        return {
            "approval": self.statement.id,
            "statement": self.digest,
            "ticket": self.statement.ticket,
            **asdict(self.line),
        }


def kind_of(plan: Plan) -> str:
    """Return the purpose of a plan: ``"apply"``, ``"roll back RUN"`` or ``"retire"``."""
    sections = {part.section for part in plan.slices}
    if ROLL_BACK in sections:
        return f"roll back {plan.target.get('undoes', '').partition(' ')[0]}"
    return RETIREMENT if RETIRE in sections else APPLY


def unknown_sections(plan: Plan) -> list[str]:
    """Return the sections of a plan that are not in the guide."""
    return [part.section for part in plan.slices if part.section not in SECTIONS]
