"""Rules that concern several keys, both files, or the world outside (secrets, files).

They work on the content as it was read, not on the checked models, so that one wrong key does not hide
the problems of all others. Malformed values are skipped here; the models report them.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from .. import signalling
from ..dialling import presets
from ..dialling.countries import country_of, is_country
from ..dialling.destinations import range_size
from ..did_pool import DidPool, e164
from ..errors import InputError, SecretError
from ..meaning import meaning
from ..paths import NamedFile, candidates, is_old_reading, lies_in, locate, looked_for
from ..product import PARAMETERS
from ..secret import (
    SecretFilter,
    SecretRef,
    exposure,
    find_secrets,
    is_one_word,
    look_up,
    remember,
    sip_password_problem,
)
from ..sip_uri import EDGES, address, check_host, not_public, termination_label
from .document import Document, PathInFile
from .model import Site, Tenant, TrunkScope
from .types import is_plain

T = TypeVar("T")
Problems = Iterator[tuple[PathInFile, str]]

SHORTEST_LIVE_SECRET = 8
LONGEST_LIST_NAME = 64

#: Regions whose APIs are reached through one edge only. Source: Twilio's CLI, "Regional" (valid pairs).
OWN_EDGE = ("ie1", "au1")

#: Where a project keeps its sandbox's state and secrets.
SANDBOX = ".sandbox"
SECRET_KEYS = ("auth_token", "api_key_secret", "password")
FILE_KEYS = ("ca_file", "allowed_signers")

#: Keys of a tenant that belong to the shared trunk at system level.
TRUNK_KEYS = ("trunk", "termination", "origination", "pbx_trunk")


def check_site(site: Document, root: Path) -> None:
    """Add the problems that concern several of a site's keys."""
    content = site.content
    if not content:
        return
    _add(site, _site(content))
    signers, accounts = ("policies", "allowed_signers"), _mapping(content.get("twilio_accounts"))
    _add(site, _file(signers, _at(content, *signers), site.folder, root))
    for path in (("pbx", "ca_file"), *(("twilio_accounts", name, "ca_file") for name in accounts)):
        _add(site, _ca_file(path, _at(content, *path), site.folder, root))
    for name, trunk in _mapping(content.get("shared_trunks")).items():
        path = ("shared_trunks", name)
        _add(site, _trunk(trunk, path, content))
        _add(site, _account(_at(trunk, "twilio_account"), (*path, "twilio_account"), content))


def check_tenant(site: Document, tenant: Document) -> None:
    """Add the problems that concern several of a tenant's keys, or a tenant and its site."""
    content = tenant.content
    if not content:
        return
    _add(tenant, _level(content, site.content))
    _add(tenant, _numbers(content))
    _add(tenant, _rules(content))
    _add(tenant, _dialling(content))
    _add(tenant, _trunk(content, (), site.content))
    if content.get("shared_trunk") is None:
        _add(tenant, _account(content.get("twilio_account"), ("twilio_account",), site.content))


def check_live(site: Document, tenant: Document, root: Path) -> None:
    """Add what a live site must not use: parameter files and secrets of the sandbox.

    A notebook's defaults are the sandbox's first tenant, so a forgotten parameter leads there.
    """
    if _at(site.content, "target") != "live":
        return
    for document in (site, tenant):
        if document.path is not None and any(lies_in(document.path, one) for one in _demo_folders(root)):
            message = "the sandbox's parameter files cannot be used for a live site: use its own"
            document.add((document.key,), message)
        for path, place in _files_named(document.content, ()):
            if any(_is_of_a_sandbox(one, root) for one in candidates(place, document.folder, root)):
                document.add((document.key, *path), "leads into .sandbox/; a live site needs its own files")


def check_passed_content(site: Document, tenant: Document, root: Path) -> None:
    """Add the files that passed content names and that the other file's folder could mean as well.

    Content has no folder, so a path in it starts at the workspace.
    """
    for document, other in ((site, tenant), (tenant, site)):
        if document.path is not None or other.folder is None:
            continue
        for path, place in _files_named(document.content, ()):
            try:
                found = locate(place, root, other.folder)
            except InputError as error:
                document.add((document.key, *path), error.problems[0])
                continue
            if found is not None and not os.path.lexists(candidates(place, root)[0]):
                message = (
                    f"content that was passed has no folder, so this path starts at {root}; but "
                    f"{found} exists, too"
                )
                document.add((document.key, *path), f"{message}: give the full path")


def check_secrets(site: Document, tenant: Document, root: Path) -> None:
    """Resolve the secrets that this tenant's run uses, and add any problems with them."""
    account = _account_of(site.content, tenant.content)
    accounts = ("twilio_accounts", account)
    shared = ("shared_trunks", _at(tenant.content, "shared_trunk"))
    sip = ("termination", "credentials", "password")
    live = _at(site.content, "target") == "live"
    values = SecretFilter()
    places: tuple[tuple[Document, tuple[Any, ...]], ...] = (
        (site, (*accounts, "auth_token")),
        (site, (*accounts, "api_key_secret")),
        (site, ("pbx", "password")),
        (site, (*shared, *sip)),
        (tenant, sip),
    )
    for document, path in places:
        reference = _parsed(SecretRef.parse, _at(document.content, *path))
        if reference is None:
            continue
        reference = replace(reference, folder=document.folder)
        try:
            if not live and reference.kind == "file" and reference.place.startswith(".sandbox/secrets/"):
                _make_sandbox_secrets(root)
            value = look_up(reference, root).reveal()
        except SecretError as error:
            document.add((document.key, *path), error.problems[0])
            continue
        if is_one_word(value):
            # The filter never learns of it: it would take the word out of every key, this one's too.
            message = f"the secret at {reference} is one short word or number, which records contain anyway:"
            document.add((document.key, *path), f"{message} choose one made of letters and digits")
            continue
        remember(value, str(reference))
        values.add(value, str(reference))
        if live and len(value) < SHORTEST_LIVE_SECRET:
            message = f"the secret at {reference} is shorter than {SHORTEST_LIVE_SECRET} characters"
            document.add((document.key, *path), message)
        if path[-3:] == sip and (problem := sip_password_problem(value)):
            document.add((document.key, *path), f"Twilio would refuse this password: {problem}")
    for document in (site, tenant):
        for path, text in _texts(document.content, ()):
            if found := find_secrets(text, values):
                message = (
                    f"contains the value of the secret at {found[0]}: delete it here, and change the secret"
                )
                document.add((document.key, *path), message)


def secret_references(site: Site, owner: Tenant | TrunkScope) -> dict[str, SecretRef]:
    """Return the references to the secrets that a run uses, by their keys in the parameters."""
    trunk, shared = owner.trunk_of(site), owner.shared_trunk
    account = trunk.account_name(site)
    key, its_account = f"site.twilio_accounts.{account}", site.twilio_accounts[account]
    of_trunk = f"site.shared_trunks.{shared}" if shared is not None else "tenant"
    found = {
        f"{key}.auth_token": its_account.auth_token,
        f"{key}.api_key_secret": its_account.api_key_secret,
        "site.pbx.password": site.pbx.password,
        f"{of_trunk}.termination.credentials.password": trunk.termination.credentials.password,
    }
    return {key: reference for key, reference in found.items() if reference is not None}


def secret_cautions(site: Site, owner: Tenant | TrunkScope, root: Path) -> list[str]:
    """Return a caution for every secret of a run whose file others can write or everybody can read.

    Also one for every file that is found in the workspace and not beside the file that names it.
    """
    secrets = secret_references(site, owner)
    exposures = [
        f"{key}: {reference}: {exposed}; give it mode 0600, in a folder that only you can write"
        for key, reference in secrets.items()
        if (exposed := exposure(reference, root))
    ]
    account = owner.trunk_of(site).account_name(site)
    files: dict[str, SecretRef | NamedFile | None] = {
        **{key: reference for key, reference in secrets.items() if reference.kind == "file"},
        f"site.twilio_accounts.{account}.ca_file": site.twilio_accounts[account].ca_file,
        "site.pbx.ca_file": site.pbx.ca_file,
        "site.policies.allowed_signers": site.policies.allowed_signers,
    }
    return exposures + [
        f"{key}: {named.place} is not in {named.folder}, where a parameter file's paths start, but in"
        f" {root}: change the path to start at {named.folder}"
        for key, named in files.items()
        if named is not None and is_old_reading(named.place, named.folder, root)
    ]


def _site(site: Mapping[str, Any]) -> Problems:
    pbx, target = _mapping(site.get("pbx")), site.get("target")
    if target == "live" and pbx and pbx.get("url") is None:
        yield ("pbx", "url"), "is missing: a live site needs the address of its PBX's API"
    if target == "sandbox" and pbx.get("url") is not None:
        yield ("pbx", "url"), "not allowed in a sandbox site: the sandbox chooses its own port; delete it"
    for name, account in _mapping(site.get("twilio_accounts")).items():
        given = [_at(account, key) is not None for key in ("auth_token", "api_key_sid", "api_key_secret")]
        if isinstance(account, dict) and given not in ([True, False, False], [False, True, True]):
            message = "give either auth_token, or api_key_sid together with api_key_secret"
            yield ("twilio_accounts", name, "auth_token"), message
        region, edge = _at(account, "region"), _at(account, "edge")
        if region in OWN_EDGE and edge is not None and edge != EDGES[region]:
            message = f"Region {region} is reached only through its own edge, {EDGES[region]}: delete edge"
            yield ("twilio_accounts", name, "edge"), message
    host = _parsed(check_host, pbx.get("address"))
    if host is not None and address(host) is None and pbx.get("signalling_ips") is None:
        yield ("pbx", "signalling_ips"), "is missing: address is a host name, but the list needs IP addresses"
    yield from _reachable(site, ("pbx", "address"), pbx.get("address"))
    for index, one in enumerate(_list(pbx.get("signalling_ips"))):
        yield from _reachable(site, ("pbx", "signalling_ips", index), one)
    if pbx.get("ca_file") is not None and pbx.get("certificate_sha256") is not None:
        yield ("pbx", "ca_file"), "give ca_file or certificate_sha256, not both"
    for index, one in enumerate(_list(site.get("additional_signalling_ranges"))):
        path = ("additional_signalling_ranges", index)
        yield from _reachable(site, path, _first_address(one))
    policies = _mapping(site.get("policies"))
    if policies.get("approval") == "two-person" and policies.get("allowed_signers") is None:
        yield (
            ("policies", "allowed_signers"),
            "is missing: two-person approval needs the signers' public keys",
        )


def _level(tenant: Mapping[str, Any], site: Mapping[str, Any]) -> Problems:
    shared = tenant.get("shared_trunk")
    if shared is None:
        for key in ("trunk", "termination"):
            if key not in tenant:
                yield (key,), "is missing"
        if tenant.get("concurrency") is not None:
            yield (
                ("concurrency",),
                "belongs to a shared trunk's assignment; use pbx_trunk.max_concurrent_calls",
            )
        return
    if tenant.get("concurrency") is None:
        yield ("concurrency",), "is missing: the tenant's share of the trunk's concurrent calls"
    for key in (*TRUNK_KEYS, "twilio_account", "set_password"):
        if key in tenant:
            yield (key,), "belongs to the shared trunk, in the site file: delete it here"
    known = _mapping(site.get("shared_trunks"))
    if "twilio_accounts" in site and isinstance(shared, str) and shared not in known:
        has = f"it has {', '.join(map(str, known))}" if known else "it has none"
        yield ("shared_trunk",), f"the site has no shared trunk with this name; {has}"


def _account(given: Any, path: PathInFile, site: Mapping[str, Any]) -> Problems:
    known = _mapping(site.get("twilio_accounts"))
    names = ", ".join(map(str, known))
    if given is None and len(known) > 1:
        yield path, f"is missing: the site has several ({names})"
    if isinstance(given, str) and known and given not in known:
        yield path, f"the site has no account with this name; it has {names}"


def _trunk(trunk: Any, path: PathInFile, site: Mapping[str, Any]) -> Problems:
    """Problems that concern several settings of a trunk, whether a tenant's own or shared."""
    access = (*path, "termination", "ip_access_control_list", "addresses")
    addresses = _list(_at(trunk, "termination", "ip_access_control_list", "addresses"))
    for index, one in enumerate(addresses):
        yield from _reachable(site, (*access, index), one)
    wanted = signalling.wanted(map(str, _list(site.get("additional_signalling_ranges"))))
    for index, one in enumerate(_list(_at(trunk, "pbx_trunk", "remove_signalling_ranges"))):
        network = _parsed(IPv4Network, one)
        if network is not None and signalling.covers(wanted, network):
            message = "Twilio sends from it: it is published, or in the site's additional_signalling_ranges"
            yield (*path, "pbx_trunk", "remove_signalling_ranges", index), message
    regions: set[str] = set()
    for index, one in enumerate(_list(_at(trunk, "origination", "uris"))):
        region = _at(one, "region")
        if isinstance(region, str) and region in regions:
            message = "this region appears twice: both URIs would be the same"
            yield (*path, "origination", "uris", index, "region"), message
        regions |= {region} if isinstance(region, str) else set()
    label = _parsed(termination_label, _at(trunk, "trunk", "termination"))
    list_name = (*path, "termination", "credentials", "list_name")
    if label and _at(trunk, *list_name[len(path) :]) is None:
        longer = len(f"{label} credentials") > LONGEST_LIST_NAME
        if longer and isinstance(_at(trunk, "termination", "credentials"), dict):
            yield (
                list_name,
                f"give one: the default would be longer than Twilio's {LONGEST_LIST_NAME} characters",
            )


def _numbers(tenant: Mapping[str, Any]) -> Problems:
    dids = _parsed(DidPool.parse, tenant.get("dids"))
    if dids is None:
        return
    for key, wanted, message in (
        ("move", True, "not in dids; only the tenant's own numbers can be moved"),
        ("remove", False, "still in dids; delete it there first"),
    ):
        for index, one in enumerate(_list(tenant.get(key))):
            number = _parsed(e164, one)
            if number is not None and (number in dids) != wanted:
                yield (key, index), f"{number} {message}"


def _rules(tenant: Mapping[str, Any]) -> Problems:
    dids = _parsed(DidPool.parse, tenant.get("dids"))
    rules = _mapping(tenant.get("rules"))
    names: set[tuple[str, str]] = set()
    taken: list[DidPool] = []
    for kind in ("outbound", "inbound"):
        for index, rule in enumerate(_list(rules.get(kind))):
            path, name = ("rules", kind, index), _at(rule, "name")
            if isinstance(name, str) and (kind, meaning("name", name)) in names:
                yield (*path, "name"), f"another {kind} rule already has this name"
            names |= {(kind, meaning("name", name))} if isinstance(name, str) else set()
            if kind == "outbound":
                yield from _outbound(rule, path, dids)
            elif (pool := _parsed(DidPool.parse, _at(rule, "dids"))) is not None:
                if dids is not None and len(pool.overlap(dids)) != len(pool):
                    yield (*path, "dids"), "not within the tenant's dids"
                if any(pool.overlap(other) for other in taken):
                    yield (*path, "dids"), "another inbound rule also covers one of these numbers"
                taken.append(pool)
                for key in ("extension", "outside_hours", "holidays"):
                    extensions = range_size(str(_at(rule, key)))
                    if extensions is not None and extensions != len(pool):
                        message = f"has {extensions} extensions, but dids has {len(pool)} numbers"
                        yield (*path, key), f"{message}: the counts must be equal"


def _dialling(tenant: Mapping[str, Any]) -> Problems:
    given, region = tenant.get("dialling"), tenant.get("country")
    if not isinstance(given, Mapping):
        return
    if region is None:
        yield ("country",), "is missing: dialling creates rules for a country"
    if not isinstance(region, str) or not is_country(region):
        return
    styles = given.get("styles", list(presets.STYLES[:3]))
    wanted = presets.Wanted(
        _texts_of(styles),
        _texts_of(given.get("emergency")),
        given["area_code"] if isinstance(given.get("area_code"), str) else None,
        _texts_of(given.get("international_prefixes")),
    )
    country = country_of(region)
    for key, message in presets.problems(country, wanted):
        yield ("dialling", key), message
    own = {_at(rule, "name") for rule in _list(_at(tenant, "rules", "outbound"))}
    for rule in presets.preset_rules(country, wanted):
        if rule.name in own:
            yield (
                ("dialling",),
                (f"creates a rule {rule.name}, but rules.outbound already has a rule of that name"),
            )
        if len(";".join(rule.prefixes)) > presets.LONGEST_CONDITION:
            message = (
                f"these are more prefixes than fit into one rule ({presets.LONGEST_CONDITION} "
                "characters in the PBX)"
            )
            yield ("dialling", "international_prefixes"), message
    caller, dids = _parsed(e164, given.get("caller_id")), _parsed(DidPool.parse, tenant.get("dids"))
    if caller is not None and dids is not None and caller not in dids:
        message = "not in dids: a tenant can use only numbers in its own pool as caller ID"
        yield ("dialling", "caller_id"), message


def _texts_of(value: Any) -> tuple[str, ...]:
    return tuple(one for one in _list(value) if isinstance(one, str))


def _outbound(rule: Any, path: PathInFile, dids: DidPool | None) -> Problems:
    conditions = ("number_prefix", "number_length", "extensions")
    if isinstance(rule, dict) and all(rule.get(key) is None for key in conditions):
        yield path, f"needs at least one condition: {', '.join(conditions)}"
    caller = _parsed(e164, _at(rule, "caller_id"))
    if caller is not None and dids is not None and caller not in dids:
        yield (*path, "caller_id"), "not in dids: a tenant can use only numbers in its own pool as caller ID"


def _reachable(site: Mapping[str, Any], path: PathInFile, host: Any) -> Problems:
    kind = not_public(host) if _parsed(check_host, host) is not None else None
    if kind and site and _at(site, "policies", "allow_non_public_addresses") is not True:
        message = f"a {kind} address, which Twilio cannot reach"
        yield path, f"{message}; to use it anyway, set policies.allow_non_public_addresses"


def _file(path: PathInFile, given: Any, *folders: Path | None) -> Problems:
    if not isinstance(given, str) or not is_plain(given):
        return
    try:
        found = locate(given, *folders)
    except InputError as error:
        yield path, error.problems[0]
        return
    if found is None or not found.is_file():
        yield path, f"there is no file {found or looked_for(given, *folders)}"


def _demo_folders(root: Path) -> list[Path]:
    """The folders of the sandbox's parameter files: in the workspace and in the product."""
    return [root / "parameters" / "sandbox", PARAMETERS / "sandbox"]


def _is_of_a_sandbox(path: Path, root: Path) -> bool:
    """Whether a path leads into a sandbox's state, this project's or another, however it is written."""
    spellings = (os.path.abspath(path), os.path.realpath(path))
    return any(SANDBOX in Path(one).parts for one in spellings) or lies_in(path, root / SANDBOX)


def _files_named(value: Any, path: PathInFile) -> Iterator[tuple[PathInFile, str]]:
    """Every file path in the parameters, as a secret's reference or by itself."""
    for where, text in _texts(value, path):
        reference = _parsed(SecretRef.parse, text) if where and where[-1] in SECRET_KEYS else None
        if reference is not None and reference.kind == "file":
            yield where, reference.place
        elif where and where[-1] in FILE_KEYS and is_plain(text):
            yield where, text


def _ca_file(path: PathInFile, given: Any, *folders: Path | None) -> Problems:
    missing = list(_file(path, given, *folders))
    yield from missing
    if isinstance(given, str) and is_plain(given) and not missing:
        try:
            ssl.create_default_context(cafile=locate(given, *folders))
        except OSError:
            yield path, "cannot be read as a CA bundle (certificates in PEM form)"


def _first_address(text: Any) -> str | None:
    network = _parsed(IPv4Network, text)
    return str(network.network_address) if network else None


def _account_of(site: Mapping[str, Any], tenant: Mapping[str, Any]) -> str | None:
    """The name of the account that the tenant's run uses; ``None`` when that is not clear."""
    shared = tenant.get("shared_trunk")
    owner = tenant if shared is None else _at(site, "shared_trunks", shared)
    known = _mapping(site.get("twilio_accounts"))
    return _at(owner, "twilio_account") or (next(iter(known)) if len(known) == 1 else None)


def _make_sandbox_secrets(root: Path) -> None:
    from runbook_sandbox import secrets  # only a sandbox site pays for the import

    try:
        secrets.ensure_secrets(root)
    except OSError as error:
        raise SecretError([f"the sandbox's secrets cannot be created ({error.strerror})"]) from None


def _add(document: Document, problems: Problems) -> None:
    for path, message in problems:
        document.add((document.key, *path), message)


def _at(content: Any, *path: Any) -> Any:
    for part in path:
        if not isinstance(content, Mapping) or not isinstance(part, str):
            return None
        content = content.get(part)
    return content


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parsed(parse: Callable[[str], T], value: Any) -> T | None:
    try:
        return parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _texts(value: Any, path: PathInFile) -> Iterator[tuple[PathInFile, str]]:
    """Every text and number with its path; a key with its mapping's path, which does not repeat it."""
    if isinstance(value, str | int | float):
        yield path, str(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield path, str(key)
            yield from _texts(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))
