"""Who runs this: every name that the process can learn, and how each is known.

An ``observed`` name comes from the kernel, a ``claimed`` one from the environment, which anybody can
set: a claimed name can cause a refusal but never allows anything. The kernel names an account,
not a person: accounts are shared, and a user namespace can show any number.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .lock import user_name

OBSERVED, CLAIMED = "observed", "claimed"
ACCOUNT, LOGIN, SUDO, HUB, CI, ENVIRONMENT = "account", "login uid", "sudo", "hub", "CI", "environment"
LOGIN_UID = Path("/proc/self/loginuid")
#: The kernel's value if nobody has signed in: a service, a container.
NO_LOGIN = 2**32 - 1
#: By kind, the variables in which other tools store a person's name.
VARIABLES = {
    SUDO: ("SUDO_USER", "DOAS_USER"),
    HUB: ("JUPYTERHUB_USER",),
    CI: (
        "GITLAB_USER_LOGIN",
        "GITLAB_USER_EMAIL",
        "GITHUB_ACTOR",
        "GITHUB_TRIGGERING_ACTOR",
        "BUILD_USER_ID",
        "BUILD_REQUESTEDFOREMAIL",
        "BITBUCKET_STEP_TRIGGERER_UUID",
        "CIRCLE_USERNAME",
    ),
    ENVIRONMENT: ("USER", "LOGNAME"),
}
#: The same as a number.
NUMBERS = {SUDO: ("SUDO_UID", "PKEXEC_UID")}


@dataclass(frozen=True)
class Identity:
    """One name of whoever runs this.

    ``kind`` says where the name comes from, ``known`` is ``"observed"`` or ``"claimed"``.
    """

    kind: str
    name: str
    known: str


def identities() -> list[Identity]:
    """Return all identities of this process, the account first, each name once for its kind."""
    found = [Identity(ACCOUNT, user_name(), OBSERVED)]
    with suppress(OSError, ValueError):
        number = int(LOGIN_UID.read_text())
        if number != NO_LOGIN:
            found.append(Identity(LOGIN, _name_of(number), OBSERVED))
    found += [Identity(kind, name, CLAIMED) for kind, name in _claims()]
    # USER and LOGNAME add nothing if they match the account.
    return [one for one in dict.fromkeys(found) if one.kind != ENVIRONMENT or one.name != found[0].name]


def plain_identities() -> list[dict[str, str]]:
    """Return all identities of this process as plain data, for openings, results, plans and events."""
    return [asdict(one) for one in identities()]


def person(name: str) -> str:
    """Return the part of a name that is compared to recognize one person.

    One person's hosts, mail domains and Windows domains differ, and case is irrelevant.
    """
    return name.rpartition("\\")[2].partition("@")[0].partition("+")[0].strip().casefold()


def persons(by: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the people behind identities in plain data; tolerates any content."""
    names = (one.get("name") for one in by if isinstance(one, Mapping))
    return {found for name in names if isinstance(name, str) and (found := person(name))}


def _claims() -> Iterator[tuple[str, str]]:
    for kind, variables in VARIABLES.items():
        for variable in variables:
            if name := os.environ.get(variable, "").strip():
                yield kind, name
    for kind, variables in NUMBERS.items():
        for variable in variables:
            if (number := os.environ.get(variable, "")).isascii() and number.isdigit():
                yield kind, _name_of(int(number))


def _name_of(number: int) -> str:
    """The user name of an account's number; an account without a name is named as in ``lock.user_name``."""
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return f"uid {number}"
