"""Every error that the runbook raises, in one tree.

::

    RunbookError                 what happened, at which step, what it means, what to do next
    ├── InputError               parameters or usage are wrong; raised before the first request
    │   ├── SecretError          a secret reference cannot be resolved, or its value would be refused
    │   └── StalePageError       a notebook's page does not match the notebook's present parameters
    ├── VendorError              Twilio or the PBX answered with an error
    │   ├── AccountError         Twilio's credentials act on another account than the site names
    │   ├── SignInError          the PBX refused a sign-in, or an earlier refusal is remembered
    │   ├── UnreachableError     nothing reached the vendor, or a read got no usable answer
    │   └── OutcomeUnknownError  a write was sent and no answer came: it may or may not have happened
    ├── PlanError                the plan must not be applied
    │   ├── ConflictError        it has rows in conflict or blocked
    │   ├── StalePlanError       the live state is not the one that was approved
    │   └── ApprovalError        the site requires an approval that is missing or invalid
    ├── VerificationError        what was read back differs from the guide's expected result
    ├── RecordError              a record or the chain cannot be written, read or trusted (records/)
    ├── LockedError              another run is working on the same tenant or trunk
    └── SandboxError             the embedded sandbox did not start or answer

An error's text never contains a secret: messages do not include values of secrets, and
messages from vendors are filtered before they are shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


class RunbookError(Exception):
    """Something an operator has to know.

    Parameters
    ----------
    what
        What happened, one sentence.
    step
        Step id of the guide (``"2.2"``), if there is one; for a section that is not in the guide, its
        number (``"90"``) if no step is known.
    meaning
        What it means for the telephone service, one sentence.
    next_step
        What to do next, one sentence.
    """

    def __init__(
        self, what: str, *, step: str | None = None, meaning: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.step = step
        self.meaning = meaning
        self.next_step = next_step

    def __str__(self) -> str:
        where = place(self.step)
        parts = [f"{where[0].upper()}{where[1:]}: {self.what}" if where else self.what]
        if self.meaning:
            parts.append(f"What it means: {self.meaning}")
        if self.next_step:
            parts.append(f"What to do next: {self.next_step}")
        return "\n".join(parts)


def place(step: str | None) -> str:
    """Return an error's step in words: ``"step 2.2"``, ``"section 90"``; empty without one."""
    if not step:
        return ""
    return f"section {step}" if step.isdigit() else f"step {step}"


class InputError(RunbookError):
    """The parameters or the usage are wrong; nothing was sent.

    ``problems`` has one line for every problem found, each naming its file and key.
    """

    def __init__(self, problems: list[str], *, next_step: str | None = None) -> None:
        what = problems[0] if len(problems) == 1 else f"{len(problems)} problems in the input:"
        super().__init__(what, next_step=next_step)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return super().__str__()
        lines = [self.what, *(f"  - {problem}" for problem in self.problems)]
        return "\n".join([*lines, f"What to do next: {self.next_step}"] if self.next_step else lines)


class SecretError(InputError):
    """A secret reference cannot be resolved, or its value would be refused by a vendor or the runbook."""


class StalePageError(InputError):
    """A notebook's page does not, or may not, match the notebook's present parameters.

    ``reason`` is one sentence that says what to do; nothing else is shown.
    """

    def __init__(self, reason: str) -> None:
        super().__init__([reason])


class VendorError(RunbookError):
    """Twilio or the PBX answered with an error.

    ``vendor`` is ``"Twilio"`` or ``"PortSIP"``; ``status`` the HTTP status (``None`` without an
    answer); ``code`` the vendor's own code (Twilio: an ``int``, PortSIP: a ``str``), if any.
    """

    def __init__(
        self,
        what: str,
        *,
        vendor: str,
        status: int | None = None,
        code: int | str | None = None,
        step: str | None = None,
        meaning: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(what, step=step, meaning=meaning, next_step=next_step)
        self.vendor = vendor
        self.status = status
        self.code = code

    @property
    def is_about_the_state(self) -> bool:
        """Whether the vendor's state may have caused the refusal: somebody was first, or it is done already.

        Neither vendor says which check it makes first, and several codes have more than one reading,
        so any refusal may, except those of credentials (401, 403) and of the rate (429).
        """
        return self.status is not None and self.status not in (401, 403, 429)


class SignInError(VendorError):
    """The PBX refused a sign-in, or a refusal is remembered and no sign-in was tried."""


class AccountError(VendorError):
    """Twilio's credentials act on a different account from the site's: this run writes nothing more.

    ``account`` is the site's; ``other`` the one that Twilio answered for, where it is known.
    """

    def __init__(
        self,
        what: str,
        *,
        account: str,
        other: str | None = None,
        meaning: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(what, vendor="Twilio", meaning=meaning, next_step=next_step)
        self.account = account
        self.other = other


class UnreachableError(VendorError):
    """Nothing reached the vendor, or a read got no usable answer. Nothing was changed."""


class OutcomeUnknownError(VendorError):
    """A write was sent and no usable answer came back: it may or may not have happened."""


class PlanError(RunbookError):
    """The plan must not be applied; nothing of this section was written."""


class ConflictError(PlanError):
    """The plan has rows in conflict or blocked."""


class StalePlanError(PlanError):
    """The live state is not the one that was approved."""


class ApprovalError(PlanError):
    """The site requires an approval that is missing or invalid."""


class VerificationError(RunbookError):
    """What was read back differs from the guide's expected result."""


def no_longer_exists(what: str, step: str) -> VerificationError:
    """Return the error for a resource that a write needs and that somebody removed in the meantime."""
    return VerificationError(
        f"{what} no longer exists",
        step=step,
        meaning="somebody removed it while this section ran",
        next_step="plan again",
    )


class LockedError(RunbookError):
    """Another run is working on the same tenant or trunk."""


class SandboxError(RunbookError):
    """The embedded sandbox did not start or answer."""


def error_as_data(error: BaseException) -> dict[str, Any]:
    """Return an error as a section's result keeps it."""
    own = error if isinstance(error, RunbookError) else RunbookError(str(error))
    return {
        "kind": type(error).__name__,
        "what": own.what,
        "step": own.step,
        "meaning": own.meaning,
        "next_step": own.next_step,
        "cause": list(cause_of(error)),
    }


def cause_of(error: BaseException) -> tuple[str, ...]:
    """Return what failed as a key, which is the same for failures of the same cause; never a sentence."""
    details: tuple[object, ...] = ()
    if isinstance(error, VendorError):
        details = (error.vendor, error.status, error.code)
    elif isinstance(error, OSError):
        details = (error.errno,)
    return (type(error).__name__, *(str(one) for one in details if one is not None))


#: What ``cause_of`` calls a failure, for people; of other names the most that can be said.
_CAUSES = {
    "InputError": "the parameters or the usage are wrong",
    "SecretError": "a secret cannot be used",
    "StalePageError": "the page no longer matches its parameters",
    "VendorError": "the vendor answered with an error",
    "AccountError": "the credentials are for another Twilio account",
    "SignInError": "the PBX refused the sign-in",
    "UnreachableError": "the vendor could not be reached",
    "OutcomeUnknownError": "no answer was received to a write",
    "PlanError": "the plan must not be applied",
    "ConflictError": "settings in conflict or blocked",
    "StalePlanError": "the state is no longer the approved one",
    "ApprovalError": "the approval is missing or invalid",
    "VerificationError": "what was read back differs from what was expected",
    "RecordError": "the record could not be kept",
    "LockedError": "another run worked on the same tenant or trunk",
    "SandboxError": "the sandbox did not answer",
    "OSError": "the operating system reported an error",
    "PermissionError": "a file may not be read or written",
    "FileNotFoundError": "a file is missing",
    "NotPlainError": "something that is not a plain file is in the way",
    "MemoryError": "the machine ran out of memory",
    "LostWorkerError": "the worker process was lost",
    "DeadKernelError": "the process of the notebook ended",
    "CellTimeoutError": "a cell took too long",
    "process": "the process of the run ended",
}


def cause_in_words(cause: Sequence[str]) -> str:
    """Return what ``cause_of`` returned, for people: ``the vendor answered with an error (Twilio, 503)``."""
    if not cause:
        return ""
    name, *details = cause
    words = _CAUSES.get(name, "an unexpected error; the run's page says which")
    if name == "process":
        details = [f"status {detail}" for detail in details]
    elif details and details[0].isdigit():  # of the operating system
        details = [os.strerror(int(details[0]))]
    return f"{words} ({', '.join(details)})" if details else words
