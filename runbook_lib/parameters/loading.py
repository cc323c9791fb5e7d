"""Loading parameters: a site, a tenant or both, with every problem at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import overload

from ..errors import InputError, SecretError
from ..paths import current_folder, locate
from ..workspace import find_workspace
from .checks import check_live, check_passed_content, check_secrets, check_site, check_tenant
from .document import Document, Source, is_content
from .model import Site, Tenant, TrunkScope

#: In a tenant's place: a shared trunk of the site, on its own.
SHARED = "trunk:"
NEXT_STEP = "correct the parameters; nothing was sent"


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
    if isinstance(tenant, str) and tenant.startswith(SHARED):
        return _shared(site, tenant.removeprefix(SHARED), root, secrets=secrets)
    site_file, tenant_file = Document.read(site, "site", root), Document.read(tenant, "tenant", root)
    the_site, the_tenant = site_file.model(Site), tenant_file.model(Tenant)
    check_site(site_file, root)
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


def load_all(
    site: Source, tenants: Sequence[Source], root: Path, *, secrets: bool = True
) -> list[tuple[Site, Tenant | TrunkScope]]:
    """Read and check a site with several tenants, each as ``load`` does, and the tenants against each other.

    Raises ``InputError`` with the problems of all of them.
    """
    loaded, problems = [], []
    for tenant in tenants:
        try:
            loaded.append(load(site, tenant, root, secrets=secrets))
        except InputError as error:
            problems += [one for one in error.problems if one not in problems]
    problems += _clashes([tenant for _, tenant in loaded if isinstance(tenant, Tenant)])
    if problems:
        raise InputError(problems, next_step=NEXT_STEP)
    return loaded


@overload
def settled(source: Path, root: Path) -> Path: ...
@overload
def settled(source: Source, root: Path) -> Source: ...
def settled(source: Source, root: Path) -> Source:
    """Return a source that means the same wherever this process goes: of a file, its full path.

    What is no file is returned as it is; ``load`` says what is wrong with it. Raises ``InputError``
    when a relative path can mean two files that differ.
    """
    if not isinstance(source, str | Path) or str(source).startswith(SHARED) or is_content(str(source), root):
        return source
    return (locate(source, current_folder(), root) if str(source) else None) or source


def _clashes(tenants: Sequence[Tenant]) -> list[str]:
    """What two tenants cannot both have; in one pass over the tenants, and one over their numbers' runs."""
    found = []
    for key, message in (
        (lambda one: one.name, "tenant.name: the same, so their records would be mixed"),
        (lambda one: one.pbx_domain, "tenant.pbx_domain: the same tenant of the PBX"),
        (
            lambda one: one.trunk and one.trunk.termination,
            "tenant.trunk.termination: the same; share one instead (shared_trunk)",
        ),
    ):
        groups: dict[str, list[Tenant]] = {}
        for tenant in tenants:
            if key(tenant):
                groups.setdefault(key(tenant), []).append(tenant)
        pairs = (pair for group in groups.values() for pair in combinations(group, 2))
        found += [f"tenants {one.name} and {other.name}: {message}" for one, other in pairs]
    # Ascending by their first number, runs that overlap follow each other.
    runs = sorted((first, last, index) for index, one in enumerate(tenants) for first, last in one.dids.runs)
    reaching: list[tuple[int, int]] = []
    overlapping: set[tuple[int, int]] = set()
    for first, last, index in runs:
        reaching = [(end, owner) for end, owner in reaching if end >= first]
        overlapping |= {(min(index, owner), max(index, owner)) for _, owner in reaching if owner != index}
        reaching.append((last, index))
    for low, high in sorted(overlapping):
        one, other = tenants[low], tenants[high]
        numbers = ", ".join(one.dids.overlap(other.dids))
        found.append(f"tenants {one.name} and {other.name}: tenant.dids: both have {numbers}")
    return found


def _shared(site: Source, name: str, root: Path, *, secrets: bool) -> tuple[Site, TrunkScope]:
    document = Document.read(site, "site", root)
    the_site = document.model(Site)
    check_site(document, root)
    check_live(document, Document("tenant"), root)
    if the_site is not None and name not in the_site.shared_trunks:
        known = ", ".join(the_site.shared_trunks) or "none"
        wanted = "of this name" if is_content(name, root) else name
        document.add(("site", "shared_trunks"), f"there is no shared trunk {wanted}; there is {known}")
    if secrets:
        check_secrets(document, Document("tenant", content={"shared_trunk": name}), root)
    if document.found or the_site is None:
        raise InputError(document.problems, next_step=NEXT_STEP)
    trunk = the_site.shared_trunks[name]
    return the_site, TrunkScope(name, trunk.accept_interruption, trunk.set_password)


def load_site(site: Source, root: Path) -> Site:
    """Read and check a site alone, without its secrets; see ``load``."""
    document = Document.read(site, "site", root)
    the_site = document.model(Site)
    check_site(document, root)
    check_live(document, Document("tenant"), root)
    if document.found or the_site is None:
        raise InputError(document.problems, next_step=NEXT_STEP)
    return the_site


def load_tenant(tenant: Source, root: Path) -> Tenant:
    """Read and check a tenant alone, without what needs its site; see ``load``."""
    document = Document.read(tenant, "tenant", root)
    the_tenant = document.model(Tenant)
    # Whether an address may be non-public is the site's to say.
    check_tenant(Document("site", content={"policies": {"allow_non_public_addresses": True}}), document)
    if document.found or the_tenant is None:
        raise InputError(document.problems, next_step=NEXT_STEP)
    return the_tenant
