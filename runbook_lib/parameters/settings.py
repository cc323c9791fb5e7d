"""What the parameters ask for, resolved: one trunk at Twilio and in the PBX, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass

from ..secret import SecretRef
from ..sip_uri import TerminationUri
from .model import OriginationTarget, Site, Tenant, TrunkScope


@dataclass(frozen=True)
class Settings:
    """One trunk's settings, with names and values as the vendors expect them.

    ``shared`` is the name of the shared trunk, ``None`` for a tenant's own; ``domain`` the trunk's domain
    name at Twilio, ``termination`` what the PBX sends calls to; ``acl_addresses`` are IPv4 addresses;
    ``password`` is a reference; ``origination_port`` is ``None`` for the PBX's port of that transport,
    read live.
    """

    shared: str | None
    account_name: str
    domain: str
    termination: TerminationUri
    friendly_name: str
    acl_name: str
    acl_addresses: tuple[str, ...]
    credential_list_name: str
    username: str
    password: SecretRef
    pbx_address: str
    origination_parameter: str
    origination_transport: str
    origination_port: int | None
    origination_uris: tuple[OriginationTarget, ...]
    pbx_name: str
    pbx_brand: str
    pbx_transport: str
    max_concurrent_calls: int
    additional_signalling_ranges: tuple[str, ...]
    remove_signalling_ranges: tuple[str, ...]

    @classmethod
    def of(cls, site: Site, owner: Tenant | TrunkScope) -> Settings:
        """Resolve the parameters of a tenant, or of a shared trunk on its own, against the site's."""
        trunk = owner.trunk_of(site)
        credentials, origination = trunk.termination.credentials, trunk.origination
        return cls(
            shared=owner.shared_trunk,
            account_name=trunk.account_name(site),
            domain=trunk.trunk.uri.domain,
            termination=trunk.trunk.uri,
            friendly_name=trunk.trunk.friendly_name,
            acl_name=trunk.acl_name,
            acl_addresses=tuple(trunk.acl_addresses(site)),
            credential_list_name=trunk.credential_list_name,
            username=credentials.username,
            password=credentials.password,
            pbx_address=site.pbx.address,
            origination_parameter=origination.parameter,
            origination_transport=origination.transport,
            origination_port=origination.port,
            origination_uris=tuple(origination.uris),
            pbx_name=trunk.pbx_trunk.name,
            pbx_brand=trunk.pbx_trunk.brand,
            pbx_transport=trunk.pbx_trunk.transport.upper(),
            max_concurrent_calls=trunk.pbx_trunk.max_concurrent_calls,
            additional_signalling_ranges=tuple(site.additional_signalling_ranges),
            remove_signalling_ranges=tuple(trunk.pbx_trunk.remove_signalling_ranges),
        )

    def secret_references(self) -> dict[str, str]:
        """Return the references to the secrets that a plan would write, by setting."""
        return {"2.3 and 5.3 password": str(self.password)}
