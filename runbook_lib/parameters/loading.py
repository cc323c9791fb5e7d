"""Loading parameters: a site, a tenant or both, with every problem at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import overload

from ..errors import InputError, SecretError
from ..paths import current_folder, locate
from ..workspace import find_workspace
from .checks import check_live, check_passed_content, check_secrets, check_site, check_tenant
from .document import Document, Source, is_content
from .model import Site, Tenant, TrunkScope

#: Instead of a tenant: a shared trunk of the site, on its own.
SHARED = "trunk:"
NEXT_STEP = "correct the parameters; nothing was sent"
#: Trunks, and credential lists, of a Twilio account (Twilio, "Scale and limits of SIP trunking").
MOST_OF_AN_ACCOUNT = 100


def project_root() -> Path:
    """Return the workspace's folder, in which relative paths are looked up too, wherever a notebook runs.

    Raises ``InputError`` when there is no workspace.
    """
    return find_workspace().folder


def load(
    site: Source, tenant: Source, root: Path, *, secrets: bool = True
) -> tuple[Site, Tenant | TrunkScope]:
    """Read and check a site and a tenant.

    Parameters
    ----------
    site, tenant
        A file's path, or its content as papermill injects it. A relative path is looked up in the
        current folder and then in ``root``. For the tenant also ``"trunk:NAME"``: the site's shared
        trunk of that name, on its own.
    secrets
        Also resolve the secrets that this tenant's run uses, and check them.

    Raises ``InputError`` with all problems of both, each as ``file:line: key: what is wrong``
    (``SecretError`` when they are all about secrets); no value of a secret is repeated.
    """
    return _load(*_read_site(site, root), tenant, root, secrets=secrets)


def _read_site(site: Source, root: Path) -> tuple[Document, Site | None]:
    """Read a site and check it by itself."""
    document = Document.read(site, "site", root)
    the_site = document.model(Site)
    check_site(document, root)
    return document, the_site


def _load(
    site_file: Document, the_site: Site | None, tenant: Source, root: Path, *, secrets: bool
) -> tuple[Site, Tenant | TrunkScope]:
    # What a tenant adds to the site's problems is this tenant's.
    site_file = replace(site_file, found=[*site_file.found])
    if isinstance(tenant, str) and tenant.startswith(SHARED):
        return _shared(site_file, the_site, tenant.removeprefix(SHARED), root, secrets=secrets)
    tenant_file = Document.read(tenant, "tenant", root)
    the_tenant = tenant_file.model(Tenant)
    check_tenant(site_file, tenant_file)
    check_live(site_file, tenant_file, root)
    check_passed_content(site_file, tenant_file, root)
    before_secrets = len(site_file.found) + len(tenant_file.found)
    if secrets:
        check_secrets(site_file, tenant_file, root)
    problems = site_file.problems + tenant_file.problems
    if problems or the_site is None or the_tenant is None:
        raise (InputError if before_secrets else SecretError)(problems, next_step=NEXT_STEP)
    return the_site, the_tenant


@dataclass(frozen=True)
class ParameterProblem:
    """A problem as ``runbook validate`` says it, and the tenant's key it is at; empty: elsewhere.

    ``is_about_secret``: the value of a secret is missing or unfit, which a file alone cannot settle.
    """

    text: str
    path: tuple[str | int, ...] = ()
    is_about_secret: bool = False


def check_text(
    site: Source, path: Path, text: str, others: Sequence[Source], root: Path, *, secrets: bool = True
) -> list[ParameterProblem]:
    """Return what is wrong with a tenant's file if it had this text, beside its site's other tenants.

    The same checks as of ``load_all``. Another tenant that is wrong by itself is not a problem for this one.
    """
    site_file, the_site = _read_site(site, root)
    tenant_file = Document.of_text(path, text, "tenant")
    the_tenant = tenant_file.model(Tenant)
    check_tenant(site_file, tenant_file)
    check_live(site_file, tenant_file, root)
    known = {*site_file.problems, *tenant_file.problems}
    if secrets:
        check_secrets(site_file, tenant_file, root)
    found = [
        ParameterProblem(
            problem, document.places.get(problem, ())[1:] if is_own else (), problem not in known
        )
        for document, is_own in ((tenant_file, True), (site_file, False))
        for problem in document.problems
    ]
    if the_site is None or the_tenant is None:
        return found
    tenants = [the_tenant]
    for other in others:
        with suppress(InputError):
            tenants.append(load_tenant(other, root))
    return [*found, *map(ParameterProblem, _clashes_with(tenants))]


def load_all(
    site: Source, tenants: Sequence[Source], root: Path, *, secrets: bool = True
) -> list[tuple[Site, Tenant | TrunkScope]]:
    """Read and check a site with several tenants, each as ``load`` does, and the tenants against each other.

    Raises ``InputError`` with the problems of all of them.
    """
    loaded, problems = [], []
    site_file, the_site = _read_site(site, root)
    for tenant in tenants:
        try:
            loaded.append(_load(site_file, the_site, tenant, root, secrets=secrets))
        except InputError as error:
            problems += [one for one in error.problems if one not in problems]
    owners = [tenant for _, tenant in loaded if isinstance(tenant, Tenant)]
    problems += _clashes(owners)
    if the_site is not None:
        problems += _trunk_clashes(the_site, owners)
    if problems:
        raise InputError(problems, next_step=NEXT_STEP)
    return loaded


@overload
def settled(source: Path, root: Path) -> Path: ...
@overload
def settled(source: Source, root: Path) -> Source: ...
def settled(source: Source, root: Path) -> Source:
    """Return a source that does not depend on the current folder: for a file, its full path.

    Anything else is returned unchanged; ``load`` reports what is wrong with it. Raises ``InputError``
    if a relative path could mean either of two files that differ.
    """
    if not isinstance(source, str | Path) or str(source).startswith(SHARED) or is_content(str(source), root):
        return source
    return (locate(source, current_folder(), root) if str(source) else None) or source


def _clashes(tenants: Sequence[Tenant]) -> list[str]:
    """Values that two tenants must not have in common."""
    return _described(_meeting(tenants))


def _clashes_with(tenants: Sequence[Tenant]) -> list[str]:
    """Values that the first of the tenants has in common with another, and must not."""
    return _described([pair for pair in _meeting(tenants) if tenants[0] in pair])


def _described(pairs: Sequence[tuple[Tenant, Tenant]]) -> list[str]:
    found = []
    for one, other in pairs:
        both = f"tenants {one.name} and {other.name}"
        if one.name == other.name:
            found.append(f"{both}: tenant.name: the same name, so their records would be mixed")
        if one.pbx_domain == other.pbx_domain:
            found.append(f"{both}: tenant.pbx_domain: the same tenant in the PBX")
        if one.trunk and other.trunk and one.trunk.termination == other.trunk.termination:
            found.append(f"{both}: tenant.trunk.termination: the same trunk; to share one, use shared_trunk")
        if numbers := one.dids.overlap(other.dids):
            found.append(f"{both}: tenant.dids: both have {', '.join(numbers)}")
    return found


def _trunk_clashes(site: Site, tenants: Sequence[Tenant]) -> list[str]:
    """What the trunks of tenants, and the site's shared ones, must not have in common, and how many fit."""
    own = [tenant for tenant in tenants if tenant.trunk is not None]
    trunks = [(f"tenant {tenant.name}", tenant.trunk_of(site)) for tenant in own]
    trunks += [(f"shared trunk {name}", trunk) for name, trunk in site.shared_trunks.items()]
    found, seen = list[str](), dict[tuple[str, ...], str]()
    for owner, trunk in trunks:
        account, credentials = trunk.account_name(site), trunk.termination.credentials
        keys = {
            ("label", trunk.trunk.uri.domain): "trunk.termination: the same label",
            ("friendly name", account, trunk.trunk.friendly_name): (
                "trunk.friendly_name: the same in one Twilio account"
            ),
            ("username", account, trunk.credential_list_name, credentials.username): (
                "termination.credentials: the same user name in the same list, so one password for both"
            ),
        }
        for key, problem in keys.items():
            other = seen.setdefault(key, owner)
            if other != owner:
                found.append(f"{other} and {owner}: {problem}")
    for account in site.twilio_accounts:
        of_account = [trunk for _, trunk in trunks if trunk.account_name(site) == account]
        domains = {trunk.trunk.uri.domain for trunk in of_account}
        lists = {trunk.credential_list_name for trunk in of_account}
        for count, what in ((len(domains), "trunks"), (len(lists), "credential lists")):
            if count > MOST_OF_AN_ACCOUNT:
                found.append(
                    f"site.twilio_accounts.{account}: {count} {what} are for this account, but an "
                    f"account can hold only {MOST_OF_AN_ACCOUNT}: share trunks, or use another "
                    "account"
                )
    return found


def _meeting(tenants: Sequence[Tenant]) -> list[tuple[Tenant, Tenant]]:
    """The pairs of tenants that share a name, a domain, a termination URI or a number, in their order."""
    groups: dict[tuple[str, object], list[int]] = {}
    for position, tenant in enumerate(tenants):
        trunk = tenant.trunk.termination if tenant.trunk else None
        for key in (("name", tenant.name), ("domain", tenant.pbx_domain), ("trunk", trunk)):
            if key[1] is not None:
                groups.setdefault(key, []).append(position)
    pairs = {pair for group in groups.values() for pair in combinations(group, 2)}
    # Of the numbers in ascending order, each run meets those that have begun and not yet ended.
    open_runs: list[tuple[int, int]] = []
    for first, last, position in sorted(
        (*run, position) for position, tenant in enumerate(tenants) for run in tenant.dids.runs
    ):
        open_runs = [run for run in open_runs if run[0] >= first]
        pairs |= {(min(position, other), max(position, other)) for _, other in open_runs if other != position}
        open_runs.append((last, position))
    return [(tenants[one], tenants[other]) for one, other in sorted(pairs)]


def _shared(
    document: Document, the_site: Site | None, name: str, root: Path, *, secrets: bool
) -> tuple[Site, TrunkScope]:
    check_live(document, Document("tenant"), root)
    if the_site is not None and name not in the_site.shared_trunks:
        known = ", ".join(the_site.shared_trunks) or "none"
        wanted = "of this name" if is_content(name, root) else name
        document.add(("site", "shared_trunks"), f"there is no shared trunk {wanted}; the site has: {known}")
    if secrets:
        check_secrets(document, Document("tenant", content={"shared_trunk": name}), root)
    if document.found or the_site is None:
        raise InputError(document.problems, next_step=NEXT_STEP)
    trunk = the_site.shared_trunks[name]
    return the_site, TrunkScope(name, trunk.accept_interruption, trunk.set_password)


def load_site(site: Source, root: Path) -> Site:
    """Read and check a site alone, without its secrets; see ``load``."""
    document, the_site = _read_site(site, root)
    check_live(document, Document("tenant"), root)
    if document.found or the_site is None:
        raise InputError(document.problems, next_step=NEXT_STEP)
    return the_site


def load_tenant(tenant: Source, root: Path) -> Tenant:
    """Read and check a tenant alone, without what needs its site; see ``load``."""
    document = Document.read(tenant, "tenant", root)
    the_tenant = document.model(Tenant)
    # The site decides whether an address may be non-public.
    check_tenant(Document("site", content={"policies": {"allow_non_public_addresses": True}}), document)
    if document.found or the_tenant is None:
        raise InputError(document.problems, next_step=NEXT_STEP)
    return the_tenant
