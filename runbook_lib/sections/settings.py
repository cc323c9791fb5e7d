"""What the parameters ask for, resolved: one trunk at Twilio and in the PBX, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass

from ..parameters import OriginationTarget, Site, Tenant
from ..secret import SecretRef


@dataclass(frozen=True)
class Settings:
    """One trunk's settings; names and values as the vendors take them.

    ``domain`` is the full termination URI; ``acl_addresses`` are IPv4 addresses; ``password`` is
    a reference; ``origination_port`` is ``None`` for the PBX's port of that transport, read live.
    """

    account_name: str
    domain: str
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

    @classmethod
    def of(cls, site: Site, tenant: Tenant) -> Settings:
        """Resolve a tenant's parameters against its site's."""
        trunk, termination, origination = tenant.trunk, tenant.termination, tenant.origination
        access, credentials = termination.ip_access_control_list, termination.credentials
        return cls(
            account_name=tenant.account_name(site),
            domain=trunk.domain,
            friendly_name=trunk.friendly_name,
            acl_name=access.name or f"{trunk.label} PBX addresses",
            acl_addresses=tuple(access.addresses or site.pbx.acl_addresses),
            credential_list_name=credentials.list_name or f"{trunk.label} credentials",
            username=credentials.username,
            password=credentials.password,
            pbx_address=site.pbx.address,
            origination_parameter=origination.parameter,
            origination_transport=origination.transport,
            origination_port=origination.port,
            origination_uris=tuple(origination.uris),
            pbx_name=tenant.pbx_trunk.name,
            pbx_brand=tenant.pbx_trunk.brand,
            pbx_transport=tenant.pbx_trunk.transport.upper(),
            max_concurrent_calls=tenant.pbx_trunk.max_concurrent_calls,
        )

    def secret_references(self) -> dict[str, str]:
        """Return the references of the secrets that a plan would write, by setting."""
        return {"2.3 and 5.3 password": str(self.password)}
