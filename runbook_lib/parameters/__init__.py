"""The parameters of a site and of a tenant: their schema, and reading them with every problem at once."""

from __future__ import annotations

from .loading import Source, load, load_site, project_root
from .model import OriginationTarget, Site, Tenant, TwilioAccount
from .schema import field_table, json_schema

__all__ = [
    "OriginationTarget",
    "Site",
    "Source",
    "Tenant",
    "TwilioAccount",
    "field_table",
    "json_schema",
    "load",
    "load_site",
    "project_root",
]
