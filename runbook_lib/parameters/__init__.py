"""The parameters of a site and of a tenant: their schema, and reading them with every problem at once."""

from __future__ import annotations

from .checks import secret_cautions, secret_references
from .document import Source
from .loading import load, load_all, load_site, load_tenant, project_root, settled
from .model import (
    InboundRule,
    OriginationTarget,
    OutboundRule,
    SharedTrunk,
    Site,
    Tenant,
    TrunkScope,
    TrunkSettings,
    TwilioAccount,
)
from .schema import field_rows, field_table, json_schema, write_schema

__all__ = [
    "InboundRule",
    "OriginationTarget",
    "OutboundRule",
    "SharedTrunk",
    "Site",
    "Source",
    "Tenant",
    "TrunkScope",
    "TrunkSettings",
    "TwilioAccount",
    "field_rows",
    "field_table",
    "json_schema",
    "load",
    "load_all",
    "load_site",
    "load_tenant",
    "project_root",
    "secret_cautions",
    "secret_references",
    "settled",
    "write_schema",
]
