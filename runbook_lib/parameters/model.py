"""The schema of a site and of a tenant. Every description here is a line of the README's table.

Each field is checked by itself here; what several keys make together is checked in ``checks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from ..sip_uri import EDGES, SUFFIX, TerminationUri
from ..statement import VALID_DAYS
from .types import (
    AccountSid,
    ApiKeySid,
    Domain,
    Extension,
    Extensions,
    FilePath,
    Fingerprint,
    FolderName,
    Host,
    HttpsUrl,
    Ipv4,
    Ipv4Range,
    Lengths,
    Name,
    Number,
    OneEntry,
    Pool,
    Prefixes,
    Prepend,
    ProxyUrl,
    Reference,
    Regex,
    Strict,
    TerminationName,
    Username,
)

Transport = Literal["udp", "tcp", "tls"]
Edge = Literal["ashburn", "umatilla", "dublin", "frankfurt", "sao-paulo", "singapore", "tokyo", "sydney"]
Region = Literal["us1", "us2", "ie1", "de1", "br1", "sg1", "jp1", "au1"]


class TwilioAccount(Strict):
    """A Twilio account or subaccount."""

    account_sid: AccountSid = Field(description="The account that everything is made in.")
    auth_token: Reference | None = Field(None, description="Reference of the account's auth token.")
    api_key_sid: ApiKeySid | None = Field(
        None, description="Instead of the auth token: the sid of a main API key, made in this account …"
    )
    api_key_secret: Reference | None = Field(None, description="… and the reference of its secret.")
    region: Literal["us1", "ie1", "au1"] = Field(
        "us1", description="Twilio Region that holds trunks and keys."
    )
    edge: Edge | None = Field(
        None,
        description="Edge through which Twilio's APIs are reached; default: the Region's own (us1 ashburn,"
        " ie1 dublin, au1 sydney). ie1 and au1 have no other.",
    )
    proxy: ProxyUrl | None = Field(
        None,
        description="The only proxy that Twilio's APIs are reached through, http://HOST:PORT; what the"
        " environment names (HTTPS_PROXY) is never used.",
    )
    ca_file: FilePath | None = Field(
        None,
        description="CA bundle to trust for Twilio's APIs instead of the public ones: a proxy that"
        " inspects TLS signs with a CA of its own.",
    )

    @property
    def api_edge(self) -> str:
        """The edge through which Twilio's APIs are reached."""
        return self.edge or EDGES[self.region]


class SitePbx(Strict):
    """The PortSIP PBX."""

    url: HttpsUrl | None = Field(None, description="The PBX's API, https://HOST:8887. Live sites only.")
    address: Host = Field(
        description="Static public IPv4 address or FQDN of the PBX, as Twilio calls it (0.2)."
    )
    signalling_ips: list[Ipv4] | None = Field(
        None,
        description="IPv4 addresses that the PBX sends from; needed when address is an FQDN.",
        min_length=1,
    )
    ca_file: FilePath | None = Field(
        None, description="CA bundle that signed the PBX's certificate, if not a public one."
    )
    certificate_sha256: Fingerprint | None = Field(
        None, description="Instead: fingerprint of the PBX's own certificate."
    )
    username: Name = Field(
        "admin",
        description="System administrator; unattended runs need one without two-factor sign-in.",
    )
    password: Reference = Field(description="Reference of the administrator's password.")
    update_keeps_password: bool = Field(
        False,
        description="Set it only after trying it on your PBX: an update of a trunk that leaves the password"
        " out keeps it.",
    )

    @property
    def acl_addresses(self) -> list[str]:
        """The IPv4 addresses that the PBX sends from."""
        return self.signalling_ips or [self.address]


class Policies(Strict):
    """What the site allows."""

    approval: Literal["none", "required", "two-person"] = Field(
        "none", description="Whether apply needs an approved plan."
    )
    allowed_signers: FilePath | None = Field(
        None, description="File of the keys that may sign (ssh-keygen's allowed signers); for two-person."
    )
    approvers: int = Field(1, description="How many people have to sign an approval.", ge=1, le=9)
    approval_valid: int = Field(
        VALID_DAYS, description="Days that a signed approval is valid at most.", ge=1, le=366
    )
    emergency: bool = Field(
        False, description="Whether apply --emergency REASON needs no approval; it is reviewed afterwards."
    )
    ticket: Regex | None = Field(
        None, description="Regular expression that the ticket of every apply has to match as a whole."
    )
    allow_non_public_addresses: bool = Field(
        False, description="Take private, loopback and documentation addresses, which Twilio cannot reach."
    )


class TwilioTrunk(Strict):
    """The Elastic SIP Trunk (sections 1 and 2.1)."""

    friendly_name: Name = Field(description="The trunk's name in Twilio's console (1.1).")
    termination: TerminationName = Field(
        description=f"Label of the termination URI, the part before {SUFFIX} (2.1). To call through one of"
        " Twilio's edges, the whole URI: LABEL.pstn.tokyo.twilio.com (5.2)."
    )

    @property
    def uri(self) -> TerminationUri:
        """The termination URI."""
        return TerminationUri.parse(self.termination)


class AccessList(Strict):
    """The IP access control list (2.2)."""

    name: Name | None = Field(None, description='The list\'s name; default "LABEL PBX addresses".')
    addresses: list[Ipv4] | None = Field(
        None,
        description="IPv4 addresses that may call out; default: the site's.",
        min_length=1,
        max_length=100,
    )


class Credentials(Strict):
    """The credential list (2.3) and the PBX trunk's authentication (5.3): one pair."""

    list_name: Name | None = Field(None, description='The list\'s name; default "LABEL credentials".')
    username: Username = Field(description="User name at Twilio, authentication name in the PBX.")
    password: Reference = Field(
        description="Reference of the password: 12 characters or more, upper, lower, digit."
    )


class Termination(Strict):
    """Termination: calls from the PBX to Twilio (section 2)."""

    ip_access_control_list: AccessList = Field(AccessList(), description="IP access control list (2.2).")
    credentials: Credentials = Field(description="Credential list (2.3).")

    @field_validator("credentials", mode="before")
    @classmethod
    def _never_none(cls, value: Any) -> Any:
        if value is None or value == "none":
            raise ValueError("a register-based trunk needs the credential list: give username and password")
        return value


class OriginationTarget(Strict):
    """One origination URI."""

    region: Region = Field(description="Twilio region through which the call leaves.")
    priority: int = Field(description="Lower is tried first.", ge=0, le=65535)
    weight: int = Field(10, description="Share of calls among URIs of the same priority.", ge=1, le=65535)
    enabled: bool = Field(True, description="Whether Twilio uses it.")


class Origination(Strict):
    """Origination: calls from Twilio to the PBX (section 3)."""

    parameter: Literal["region", "edge"] = Field(
        "region", description="region=us1 as the guide has it, or edge=ashburn."
    )
    transport: Transport = Field("udp", description="Transport to the PBX; the PBX must have it.")
    port: int | None = Field(
        None, description="Port of the PBX; default: its port of that transport, read live.", ge=1, le=65535
    )
    uris: list[OriginationTarget] = Field(
        [OriginationTarget(region="us1", priority=10), OriginationTarget(region="us2", priority=20)],
        description="Origination URIs, at most 10 (Twilio's limit); default: the guide's two (3.1, 3.2).",
        min_length=1,
        max_length=10,
    )


class PbxTrunk(Strict):
    """The trunk in the PBX (section 5)."""

    name: Name = Field("Twilio-Reg-Trunk", description="The trunk's name in the PBX (5.2).")
    brand: Name = Field("Twilio", description="The brand, as the portal calls it (5.2).")
    transport: Transport = Field("udp", description="Transport to Twilio; tls needs secure trunking there.")
    max_concurrent_calls: int = Field(
        100_000, description="Max Concurrent Calls (5.4); the portal's preset.", ge=1, le=2**31 - 1
    )
    remove_signalling_ranges: list[Ipv4Range] = Field(
        [],
        description="Ranges to take off the PBX trunk's associated addresses (5.4); calls in from them are"
        " refused then. Any other range that is there is kept.",
    )


class TrunkSettings(Strict):
    """One trunk at Twilio and in the PBX: a shared one's, or what ``Tenant.trunk_of`` returns."""

    twilio_account: FolderName | None = Field(
        None, description="Name of the Twilio account; not needed with one."
    )
    trunk: TwilioTrunk = Field(description="The Elastic SIP Trunk.")
    termination: Termination = Field(description="Calls from the PBX to Twilio.")
    origination: Origination = Field(Origination(), description="Calls from Twilio to the PBX.")
    pbx_trunk: PbxTrunk = Field(PbxTrunk(), description="The trunk in the PBX.")

    @property
    def termination_domain(self) -> str:
        """The trunk's domain name at Twilio, which identifies it."""
        return self.trunk.uri.domain

    @property
    def acl_name(self) -> str:
        """The IP access control list's name."""
        return self.termination.ip_access_control_list.name or f"{self.trunk.uri.label} PBX addresses"

    @property
    def credential_list_name(self) -> str:
        """The credential list's name."""
        return self.termination.credentials.list_name or f"{self.trunk.uri.label} credentials"

    def acl_addresses(self, site: Site) -> list[str]:
        """Return the IPv4 addresses that may call out."""
        return self.termination.ip_access_control_list.addresses or site.pbx.acl_addresses

    def account_name(self, site: Site) -> str:
        """Return the name of the Twilio account."""
        return self.twilio_account or next(iter(site.twilio_accounts))


class SharedTrunk(TrunkSettings):
    """A trunk at system level: made once, assigned to tenants (5.5)."""

    accept_interruption: bool = Field(False, description="Leave for rows that interrupt its tenants' calls.")
    set_password: bool = Field(False, description="Write the password at both sides again.")


class Site(Strict):
    """One PortSIP PBX, its Twilio accounts, its policies."""

    name: FolderName = Field(description="Names the site's folder of the records.")
    target: Literal["sandbox", "live"] = Field(
        description="The vendors' real services, or the sandbox on this machine."
    )
    twilio_accounts: dict[FolderName, TwilioAccount] = Field(
        description="Twilio accounts by a name of yours.", min_length=1
    )
    pbx: SitePbx = Field(description="The PBX.")
    shared_trunks: dict[FolderName, SharedTrunk] = Field(
        {}, description="System level: trunks shared by tenants, by a name of yours; keys as a tenant's."
    )
    additional_signalling_ranges: list[Ipv4Range] = Field(
        [],
        description="IPv4 ranges that Twilio signals from beside those it publishes; 05 adds them to each"
        " PBX trunk (5.4).",
    )
    policies: Policies = Field(Policies(), description="What the site allows.")


class OutboundRule(Strict):
    """An outbound rule (6.1): who may call what through the trunk. At least one condition."""

    name: Name = Field(description="The rule's name in the PBX.")
    number_prefix: Prefixes | None = Field(
        None, description="Condition: what the dialled number begins with."
    )
    number_length: Lengths | None = Field(None, description="Condition: how many digits were dialled.")
    extensions: Extensions | None = Field(None, description="Condition: the extensions that call.")
    strip_digits: int = Field(0, description="Digits taken off the front of the dialled number.", ge=0, le=9)
    prepend: Prepend = Field("", description="Put in front after that.")
    caller_id: Number | None = Field(None, description="Outbound caller id, +E.164, one of dids.")
    priority: int = Field(1000, description="Lower is tried first.", ge=0, le=2**31 - 1)


class InboundRule(Strict):
    """An inbound rule (6.2): the extension that numbers ring."""

    name: Name = Field(description="The rule's name in the PBX.")
    dids: OneEntry = Field(description="One number or one range, inside of the tenant's dids.")
    extension: Extension = Field(description="The extension that rings.")
    outside_hours: Extension | None = Field(None, description="… outside office hours; default: the same.")
    holidays: Extension | None = Field(None, description="… on holidays; default: the same.")


class Rules(Strict):
    """The tenant's call rules (6.1, 6.2)."""

    outbound: list[OutboundRule] = Field([], description="Outbound rules, to the trunk.")
    inbound: list[InboundRule] = Field([], description="Inbound rules, from the trunk.")


class Tenant(Strict):
    """A tenant of the PBX and its trunk."""

    name: FolderName = Field(description="Names the tenant's folder of the records.")
    pbx_domain: Domain = Field(description="The tenant's SIP domain in the PBX.")
    dids: Pool = Field(description="The tenant's numbers, in the PBX's pool grammar; the one source of them.")
    twilio_account: FolderName | None = Field(
        None, description="Name of the site's Twilio account; not needed with one."
    )
    shared_trunk: FolderName | None = Field(
        None, description="System level: the site's shared trunk, instead of the four mappings below."
    )
    concurrency: int | None = Field(
        None, description="System level: concurrent calls of the assignment.", ge=1, le=2**31 - 1
    )
    trunk: TwilioTrunk | None = Field(None, description="The Elastic SIP Trunk.")
    termination: Termination | None = Field(None, description="Calls from the PBX to Twilio.")
    origination: Origination = Field(Origination(), description="Calls from Twilio to the PBX.")
    pbx_trunk: PbxTrunk = Field(PbxTrunk(), description="The trunk in the PBX.")
    rules: Rules | None = Field(None, description="Call rules of the tenant.")
    move: list[Number] = Field(
        [], description="Numbers of dids to take over although something answers them today."
    )
    remove: list[Number] = Field([], description="Numbers to take off the trunk and out of the pool.")
    accept_interruption: bool = Field(False, description="Leave for rows that interrupt calls.")
    accept_unrouted: bool = Field(False, description="Move numbers although no inbound rule covers them.")
    set_password: bool = Field(False, description="Write the password at both sides again.")

    @property
    def level(self) -> Literal["tenant", "system"]:
        """Where the tenant's trunk is made: its own, or the site's shared one."""
        return "system" if self.shared_trunk is not None else "tenant"

    def trunk_of(self, site: Site) -> TrunkSettings:
        """Return the settings of the trunk that the tenant uses: its own, or the shared one."""
        if self.shared_trunk is not None:
            return site.shared_trunks[self.shared_trunk]
        own = {key: getattr(self, key) for key in TrunkSettings.model_fields}
        return TrunkSettings.model_construct(**own)

    def account_name(self, site: Site) -> str:
        """Return the name of the Twilio account that the tenant's trunk is in."""
        return self.trunk_of(site).account_name(site)


@dataclass(frozen=True)
class TrunkScope:
    """A shared trunk on its own, without a tenant: what ``runbook apply --trunk NAME`` works on."""

    shared_trunk: str
    accept_interruption: bool
    set_password: bool

    @property
    def name(self) -> str:
        """Names the trunk's folder of the records."""
        return f"trunk-{self.shared_trunk}"

    def trunk_of(self, site: Site) -> TrunkSettings:
        """Return the settings of the shared trunk."""
        return site.shared_trunks[self.shared_trunk]
