"""The schema of a site and of a tenant. Every description here is a line of the README's table."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..sip_uri import SUFFIX, address
from .types import (
    AccountSid,
    ApiKeySid,
    Fingerprint,
    FolderName,
    Host,
    HttpsUrl,
    Ipv4,
    KeyedError,
    Label,
    Name,
    Number,
    Pool,
    Reference,
    Strict,
    Text,
)

Transport = Literal["udp", "tcp", "tls"]
Region = Literal["us1", "us2", "ie1", "de1", "br1", "sg1", "jp1", "au1"]


class TwilioAccount(Strict):
    """A Twilio account or subaccount."""

    account_sid: AccountSid = Field(description="The account that everything is made in.")
    auth_token: Reference | None = Field(None, description="Reference of the account's auth token.")
    api_key_sid: ApiKeySid | None = Field(
        None, description="Instead of the auth token: a main API key's sid …"
    )
    api_key_secret: Reference | None = Field(None, description="… and the reference of its secret.")
    region: Literal["us1", "ie1", "au1"] = Field(
        "us1", description="Twilio Region that holds trunks and keys."
    )
    edge: Literal[
        "ashburn", "umatilla", "dublin", "frankfurt", "sao-paulo", "singapore", "tokyo", "sydney"
    ] = Field("ashburn", description="Edge through which Twilio's APIs are reached.")

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        key = (self.api_key_sid is not None, self.api_key_secret is not None)
        if (self.auth_token is not None) == any(key) or key[0] != key[1]:
            raise KeyedError("auth_token", "give either auth_token, or api_key_sid together with api_key_secret")
        return self


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
    ca_file: Text | None = Field(
        None, description="CA bundle that signed the PBX's certificate, if not a public one."
    )
    certificate_sha256: Fingerprint | None = Field(
        None, description="Instead: fingerprint of the PBX's own certificate."
    )
    username: Name = Field("admin", description="System administrator without two-factor authentication.")
    password: Reference = Field(description="Reference of the administrator's password.")

    @model_validator(mode="after")
    def _addresses_for_the_list(self) -> Self:
        if address(self.address) is None and self.signalling_ips is None:
            raise KeyedError("signalling_ips", "is missing: address is a name, and the access list needs addresses")
        if self.ca_file and self.certificate_sha256:
            raise KeyedError("ca_file", "give ca_file or certificate_sha256, not both")
        return self

    @property
    def acl_addresses(self) -> list[str]:
        """The IPv4 addresses that the PBX sends from."""
        return self.signalling_ips or [self.address]


class Policies(Strict):
    """What the site allows."""

    approval: Literal["none", "required"] = Field("none", description="Whether apply needs an approved plan.")
    allow_non_public_addresses: bool = Field(
        False, description="Take private, loopback and documentation addresses, which Twilio cannot reach."
    )


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
    policies: Policies = Field(Policies(), description="What the site allows.")

    @model_validator(mode="after")
    def _target_and_url(self) -> Self:
        if self.target == "live" and self.pbx.url is None:
            raise KeyedError("pbx.url", "is missing: a live site has its PBX's API")
        if self.target == "sandbox" and self.pbx.url is not None:
            raise KeyedError("pbx.url", "a sandbox site has none; the sandbox chooses its own port")
        return self


class TwilioTrunk(Strict):
    """The Elastic SIP Trunk (sections 1 and 2.1)."""

    friendly_name: Name = Field(description="The trunk's name in Twilio's console (1.1).")
    termination: Label = Field(description=f"Label of the termination URI, the part before {SUFFIX} (2.1).")

    @property
    def label(self) -> str:
        """The label in front of Twilio's suffix."""
        return self.termination

    @property
    def domain(self) -> str:
        """The full termination URI."""
        return self.termination + SUFFIX


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
    username: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")] = Field(
        description="User name at Twilio, authentication name in the PBX."
    )
    password: Reference = Field(
        description="Reference of the password: 12 characters or more, upper, lower, digit."
    )

    @field_validator("username", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("YAML reads this as a number or a date: put it in quotes")
        return value


class Termination(Strict):
    """Termination: calls from the PBX to Twilio (section 2)."""

    ip_access_control_list: AccessList = Field(AccessList(), description="IP access control list (2.2).")
    credentials: Credentials = Field(description="Credential list (2.3).")

    @field_validator("credentials", mode="before")
    @classmethod
    def _never_none(cls, value: object) -> object:
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

    @field_validator("uris")
    @classmethod
    def _no_region_twice(cls, uris: list[OriginationTarget]) -> list[OriginationTarget]:
        regions = [one.region for one in uris]
        twice = sorted({one for one in regions if regions.count(one) > 1})
        if twice:
            raise ValueError(f"region {', '.join(twice)} twice: both URIs would be the same")
        return uris


class PbxTrunk(Strict):
    """The trunk in the PBX (section 5)."""

    name: Name = Field("Twilio-Reg-Trunk", description="The trunk's name in the PBX (5.2).")
    brand: Name = Field("Twilio", description="The brand, as the portal calls it (5.2).")
    transport: Transport = Field("udp", description="Transport to Twilio; tls needs secure trunking there.")
    max_concurrent_calls: int = Field(
        100_000, description="Max Concurrent Calls (5.4); the portal's preset.", ge=0, le=2**31 - 1
    )


class Tenant(Strict):
    """A tenant of the PBX and its trunk."""

    name: FolderName = Field(description="Names the tenant's folder of the records.")
    pbx_domain: Host = Field(description="The tenant's SIP domain in the PBX.")
    dids: Pool = Field(description="The tenant's numbers, in the PBX's pool grammar; the one source of them.")
    twilio_account: FolderName | None = Field(
        None, description="Name of the site's Twilio account; not needed with one."
    )
    trunk: TwilioTrunk = Field(description="The Elastic SIP Trunk.")
    termination: Termination = Field(description="Calls from the PBX to Twilio.")
    origination: Origination = Field(Origination(), description="Calls from Twilio to the PBX.")
    pbx_trunk: PbxTrunk = Field(PbxTrunk(), description="The trunk in the PBX.")
    move: list[Number] = Field(
        [], description="Numbers of dids to take over although something answers them today."
    )
    remove: list[Number] = Field([], description="Numbers to take off the trunk and out of the pool.")
    accept_interruption: bool = Field(False, description="Leave for rows that interrupt calls.")
    accept_unrouted: bool = Field(False, description="Move numbers although no inbound rule covers them.")
    set_password: bool = Field(False, description="Write the password at both sides again.")

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        strangers = [one for one in self.move if one not in self.dids]
        if strangers:
            raise KeyedError("move", f"{', '.join(strangers)} not in dids")
        kept = [one for one in self.remove if one in self.dids]
        if kept:
            raise KeyedError("remove", f"{', '.join(kept)} still in dids; take it out there first")
        return self

    def account_name(self, site: Site) -> str:
        """Return the name of the tenant's Twilio account."""
        return self.twilio_account or next(iter(site.twilio_accounts))


__all__ = ["OriginationTarget", "Site", "Tenant", "TwilioAccount"]
