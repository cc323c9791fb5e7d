"""The schema of a site and of a tenant. Every description here is a row in ``docs/parameters.md``.

Each field is checked by itself here; rules that concern several keys are in ``checks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from ..dialling.countries import country_of
from ..dialling.presets import FIRST_PRIORITY, Wanted, preset_rules
from ..sip_uri import EDGES, SUFFIX, TerminationUri
from ..statement import VALID_DAYS
from .types import (
    AccountSid,
    ApiKeySid,
    CountryCode,
    Destination,
    Dialled,
    Digits,
    Domain,
    Expected,
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
    PoolText,
    Prefixes,
    Prepend,
    ProxyUrl,
    Reference,
    Regex,
    Strict,
    TerminationName,
    Username,
)

SipTransport = Literal["udp", "tcp", "tls"]
Edge = Literal["ashburn", "umatilla", "dublin", "frankfurt", "sao-paulo", "singapore", "tokyo", "sydney"]
Region = Literal["us1", "us2", "ie1", "de1", "br1", "sg1", "jp1", "au1"]


class TwilioAccount(Strict):
    """A Twilio account or subaccount."""

    account_sid: AccountSid = Field(description="The account in which everything is created.")
    auth_token: Reference | None = Field(None, description="Reference to the account's auth token.")
    api_key_sid: ApiKeySid | None = Field(
        None, description="Instead of the auth token: the SID of a main API key, created in this account …"
    )
    api_key_secret: Reference | None = Field(None, description="… and the reference to that key's secret.")
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
        description="The only proxy used to reach Twilio's APIs, http://HOST:PORT; proxies named in the"
        " environment (HTTPS_PROXY) are never used.",
    )
    ca_file: FilePath | None = Field(
        None,
        description="CA bundle to trust for Twilio's APIs instead of the public CAs; needed behind a proxy"
        " that inspects TLS, which signs with its own CA.",
    )

    @property
    def api_edge(self) -> str:
        """The edge through which Twilio's APIs are reached."""
        return self.edge or EDGES[self.region]


class SitePbx(Strict):
    """The PortSIP PBX."""

    url: HttpsUrl | None = Field(None, description="The PBX's API, https://HOST:8887. Live sites only.")
    address: Host = Field(
        description="Static public IPv4 address or FQDN of the PBX, to which Twilio sends calls (0.2)."
    )
    signalling_ips: list[Ipv4] | None = Field(
        None,
        description="IPv4 addresses from which the PBX sends calls; needed if address is an FQDN.",
        min_length=1,
    )
    ca_file: FilePath | None = Field(
        None, description="CA bundle that signed the PBX's certificate, if it was not a public CA."
    )
    certificate_sha256: Fingerprint | None = Field(
        None, description="Instead of ca_file: fingerprint of the PBX's own certificate."
    )
    username: Name = Field(
        "admin",
        description="System administrator; unattended runs need an account without two-factor sign-in.",
    )
    password: Reference = Field(description="Reference to the administrator's password.")
    update_keeps_password: bool = Field(
        False,
        description="Updating a trunk without sending the password keeps the password. Set this only after"
        " testing it on your PBX.",
    )
    requests_per_minute: int | None = Field(
        None,
        description="API requests per minute that the PBX accepts from one address, if not 5,000 "
        "(system.ini, access_limit).",
        ge=60,
        le=1_000_000,
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
        None,
        description="File with the keys that may sign (ssh-keygen's allowed signers format); for two-person.",
    )
    approvers: int = Field(1, description="How many people must sign an approval.", ge=1, le=9)
    approval_valid: int = Field(
        VALID_DAYS, description="Maximum number of days for which a signed approval is valid.", ge=1, le=366
    )
    emergency: bool = Field(
        False,
        description="Allow apply --emergency REASON without approval; it is reviewed afterwards.",
    )
    ticket: Regex | None = Field(
        None, description="Regular expression that must match the whole ticket of every apply."
    )
    keep_plans: int = Field(
        90,
        description="How many days to keep runs that only planned or verified. Those that somebody "
        "approved, and everything in the chain of records, are not affected.",
        ge=1,
        le=3660,
    )
    allow_non_public_addresses: bool = Field(
        False, description="Accept private, loopback and documentation addresses, which Twilio cannot reach."
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
        description="IPv4 addresses allowed to call out; default: the site's.",
        min_length=1,
        max_length=100,
    )


class Credentials(Strict):
    """The credential list (2.3) and the PBX trunk's authentication (5.3): one pair."""

    list_name: Name | None = Field(None, description='The list\'s name; default "LABEL credentials".')
    username: Username = Field(description="User name at Twilio, and authentication name in the PBX.")
    password: Reference = Field(
        description="Reference to the password, which needs at least 12 characters, with upper case, "
        "lower case and a digit."
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

    region: Region = Field(description="Twilio region through which the call leaves Twilio.")
    priority: int = Field(description="Lower values are tried first.", ge=0, le=65535)
    weight: int = Field(10, description="Share of calls among URIs with the same priority.", ge=1, le=65535)
    enabled: bool = Field(True, description="Whether Twilio uses it.")


class Origination(Strict):
    """Origination: calls from Twilio to the PBX (section 3)."""

    parameter: Literal["region", "edge"] = Field(
        "region", description="Parameter in the URI: region=us1 as in the guide, or edge=ashburn."
    )
    transport: SipTransport = Field("udp", description="Transport to the PBX; must be enabled there.")
    port: int | None = Field(
        None,
        description="Port of the PBX; default: the PBX's port for that transport, read live.",
        ge=1,
        le=65535,
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
    brand: Name = Field("Twilio", description="The brand, as named in the portal (5.2).")
    transport: SipTransport = Field(
        "udp", description="Transport to Twilio; tls requires secure trunking there."
    )
    max_concurrent_calls: int = Field(
        100_000,
        description="Max Concurrent Calls (5.4); the default is the portal's.",
        ge=1,
        le=2**31 - 1,
        json_schema_extra={"unit": "calls"},
    )
    remove_signalling_ranges: list[Ipv4Range] = Field(
        [],
        description="Ranges to remove from the PBX trunk's associated addresses (5.4); inbound calls from"
        " them are then refused. All other existing ranges are kept.",
    )


class TrunkSettings(Strict):
    """One trunk at Twilio and in the PBX: a shared one's, or what ``Tenant.trunk_of`` returns."""

    twilio_account: FolderName | None = Field(
        None, description="Name of the Twilio account; not needed if the site has only one."
    )
    trunk: TwilioTrunk = Field(description="The Elastic SIP Trunk.")
    termination: Termination = Field(description="Calls from the PBX to Twilio.")
    origination: Origination = Field(Origination(), description="Calls from Twilio to the PBX.")
    pbx_trunk: PbxTrunk = Field(PbxTrunk(), description="The trunk in the PBX.")

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

    accept_interruption: bool = Field(False, description="Allow changes that interrupt its tenants' calls.")
    set_password: bool = Field(False, description="Write the password again on both sides.")


class Site(Strict):
    """One PortSIP PBX, its Twilio accounts, its policies."""

    name: FolderName = Field(description="Name of the site's folder in the records.")
    target: Literal["sandbox", "live"] = Field(
        description="The vendors' real services, or the sandbox on this machine."
    )
    twilio_accounts: dict[FolderName, TwilioAccount] = Field(
        description="Twilio accounts, each under a name that you choose.", min_length=1
    )
    pbx: SitePbx = Field(description="The PBX.")
    shared_trunks: dict[FolderName, SharedTrunk] = Field(
        {},
        description="System level: trunks shared by tenants, each under a name that you choose; same keys as"
        " a tenant's trunk.",
    )
    additional_signalling_ranges: list[Ipv4Range] = Field(
        [],
        description="IPv4 ranges from which Twilio sends signalling in addition to those it publishes; 05"
        " adds them to each PBX trunk (5.4).",
    )
    policies: Policies = Field(Policies(), description="What the site allows.")


class OutboundRule(Strict):
    """An outbound rule (6.1): who may call what through the trunk. At least one condition."""

    name: Name = Field(description="The rule's name in the PBX.")
    number_prefix: Prefixes | None = Field(
        None, description="Condition: what the dialled number begins with."
    )
    number_length: Lengths | None = Field(None, description="Condition: how many digits were dialled.")
    extensions: Extensions | None = Field(None, description="Condition: the calling extensions.")
    strip_digits: int = Field(
        0,
        description="How many digits to strip from the front of the dialled number.",
        ge=0,
        le=9,
        json_schema_extra={"unit": "digits"},
    )
    prepend: Prepend = Field("", description="Prefix to add after that.")
    caller_id: Number | None = Field(None, description="Outbound caller ID, +E.164, one of dids.")
    priority: int = Field(1000, description="Lower values are tried first.", ge=0, le=2**31 - 1)


class InboundRule(Strict):
    """An inbound rule (6.2): the extension that numbers ring."""

    name: Name = Field(description="The rule's name in the PBX.")
    dids: OneEntry = Field(description="One number or one range, within the tenant's dids.")
    extension: Destination = Field(
        description="The extension that rings; a range of as many extensions as dids has numbers (100-299);"
        " keep (the number that was called is the extension); voicemail:EXTENSION; hang up; or an outside"
        " number, +E.164."
    )
    outside_hours: Destination | None = Field(
        None, description="Where calls go outside office hours; default: the same as extension."
    )
    holidays: Destination | None = Field(
        None, description="Where calls go on holidays; default: the same as extension."
    )


class Rules(Strict):
    """The tenant's call rules (6.1, 6.2)."""

    outbound: list[OutboundRule] = Field([], description="Outbound rules, for calls to the trunk.")
    inbound: list[InboundRule] = Field([], description="Inbound rules, for calls from the trunk.")


class Dialling(Strict):
    """How people dial: creates outbound rules for the tenant's country, besides the tenant's own (6.1)."""

    styles: list[Literal["plus", "international", "national", "local"]] = Field(
        ["plus", "international", "national"],
        description="Ways of dialling, with at least one rule each; local needs area_code.",
        min_length=1,
    )
    emergency: list[Digits] = Field(
        description="Emergency numbers to send through Twilio; [] for none. Must be given: the runbook "
        "creates no such rule by default, and does not guarantee that such calls are "
        "answered."
    )
    area_code: Digits | None = Field(
        None, description="The area code of local calls, without the national prefix."
    )
    international_prefixes: list[Digits] = Field(
        [],
        description="What is dialled before a country code, including a carrier code if one is dialled;"
        " default: the country's.",
    )
    caller_id: Number | None = Field(None, description="Outbound caller ID of these rules, one of dids.")
    extensions: Extensions | None = Field(None, description="Condition of these rules: who calls.")
    priority: int = Field(
        FIRST_PRIORITY,
        description="Priority of the first of these rules; each further rule adds 1.",
        ge=0,
        le=10**6,
    )

    def rules(self, country: str) -> list[OutboundRule]:
        """Return the outbound rules for a country."""
        return [
            OutboundRule(
                name=rule.name,
                number_prefix=";".join(rule.prefixes),
                number_length=";".join(map(str, rule.lengths)) or None,
                extensions=self.extensions,
                strip_digits=rule.strip,
                prepend=rule.prepend,
                caller_id=self.caller_id,
                priority=rule.priority - FIRST_PRIORITY + self.priority,
            )
            for rule in preset_rules(country_of(country), self.wanted)
        ]

    @property
    def wanted(self) -> Wanted:
        """The ways of dialling as values."""
        return Wanted(
            tuple(self.styles), tuple(self.emergency), self.area_code, tuple(self.international_prefixes)
        )


class Tenant(Strict):
    """A tenant of the PBX and its trunk."""

    name: FolderName = Field(description="Name of the tenant's folder in the records.")
    pbx_domain: Domain = Field(description="The tenant's SIP domain in the PBX.")
    dids: PoolText = Field(
        description="The tenant's numbers, in the PBX's pool syntax; they are listed only here."
    )
    twilio_account: FolderName | None = Field(
        None, description="Name of the site's Twilio account; not needed if the site has only one."
    )
    shared_trunk: FolderName | None = Field(
        None, description="System level: the site's shared trunk, instead of the four mappings below."
    )
    concurrency: int | None = Field(
        None,
        description="System level: concurrent calls that the tenant's assignment allows.",
        ge=1,
        le=2**31 - 1,
        json_schema_extra={"unit": "calls"},
    )
    trunk: TwilioTrunk | None = Field(None, description="The Elastic SIP Trunk.")
    termination: Termination | None = Field(None, description="Calls from the PBX to Twilio.")
    origination: Origination = Field(Origination(), description="Calls from Twilio to the PBX.")
    pbx_trunk: PbxTrunk = Field(PbxTrunk(), description="The trunk in the PBX.")
    country: CountryCode | None = Field(
        None,
        description="The country in which people dial (ISO 3166, such as DE). Call rules are checked "
        "against it; it creates none.",
    )
    dialling: Dialling | None = Field(None, description="Outbound rules for the ways of dialling there.")
    rules: Rules | None = Field(None, description="Call rules of the tenant.")
    examples: dict[Dialled, Expected] = Field(
        {},
        description="Tests of the outbound rules: what is dialled, and the number that Twilio must receive"
        " (+E.164), none (nothing leaves) or emergency.",
    )
    move: list[Number] = Field(
        [], description="Numbers in dids to take over even if something answers them today."
    )
    remove: list[Number] = Field([], description="Numbers to remove from the trunk and from the pool.")
    accept_interruption: bool = Field(False, description="Allow changes that interrupt calls.")
    accept_unrouted: bool = Field(False, description="Move numbers even though no inbound rule covers them.")
    set_password: bool = Field(False, description="Write the password again on both sides.")

    @property
    def call_rules(self) -> Rules | None:
        """The tenant's own call rules and, in front, those of its ways of dialling; ``None`` for neither."""
        if self.dialling is None or self.country is None:
            return self.rules
        own = self.rules or Rules()
        return Rules(outbound=[*self.dialling.rules(self.country), *own.outbound], inbound=own.inbound)

    def trunk_of(self, site: Site) -> TrunkSettings:
        """Return the settings of the trunk that the tenant uses: its own, or the shared one."""
        if self.shared_trunk is not None:
            return site.shared_trunks[self.shared_trunk]
        own = {key: getattr(self, key) for key in TrunkSettings.model_fields}
        return TrunkSettings.model_construct(**own)


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
