"""What the vendors' documents leave open, each as a named switch with a documented-like default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Switch:
    """One open question.

    ``values`` lists what the switch can be set to; an integer range is written ``range(...)``.
    ``source`` says in one line why the question is open.
    """

    name: str
    values: tuple[str, ...] | range
    source: str

    @property
    def default(self) -> Any:
        """The setting that is closest to what is documented: the first one."""
        return self.values[0]


def _choice(name: str, values: str, source: str) -> Switch:
    return Switch(name, tuple(values.split("|")), source)


#: The default is the first value.
ALL: tuple[Switch, ...] = (
    Switch("twilio.latency_ms", range(0, 60_001), "not a fact of the vendor: how slow its answers are"),
    Switch(
        "twilio.requests_at_once",
        range(100, 0, -1),
        "the limit of an account is not published: 100 was said, and 1 for new accounts",
    ),
    Switch(
        "twilio.read_lag_seconds", range(0, 6), "public tests poll 5 x 1 s after attaching a list to a trunk"
    ),
    _choice(
        "twilio.own_domain_code", "21248|21245", "a domain of the same account: 21248 seen, 21245 listed, too"
    ),
    Switch(
        "twilio.domain_reuse_delay_seconds", range(0, 3601), "re-use of a deleted domain name is undocumented"
    ),
    _choice(
        "twilio.error_status_212xx", "400|409|422", "the HTTP status of the codes 21235-21255 is undocumented"
    ),
    _choice(
        "twilio.bad_credential_code", "21243|21240", "the error dictionary lists the rules under both codes"
    ),
    _choice(
        "twilio.number_on_same_trunk", "accepted|refused", "PhoneNumbers POST, second time: undocumented"
    ),
    _choice(
        "twilio.number_on_other_trunk", "accepted|refused", "Console: disassociated; a live guide: refused"
    ),
    _choice("twilio.numbers_of_a_trunk", "available|missing", "not in Region ie1; other Regions do not say"),
    _choice("twilio.clear_trunk_sid", "accepted|ignored", "TrunkSid= (empty) on a number: likely, unsourced"),
    _choice(
        "twilio.trunk_delete", "cascade|refused", "a live guide says refused with sub-resources; untested"
    ),
    _choice(
        "twilio.mapped_list_delete", "refused|allowed", "21236/21241 speak of SIP Domains, not of trunks"
    ),
    _choice(
        "twilio.filled_list_delete", "allowed|refused", "deleting a list that has entries is undocumented"
    ),
    _choice("twilio.duplicate_username", "refused|accepted", "a user name twice in a list is undocumented"),
    _choice(
        "twilio.duplicate_origination_url", "accepted|refused", "a SipUrl twice on a trunk is undocumented"
    ),
    _choice(
        "twilio.cidr_host_bits", "normalised|kept|refused", "bits outside the CIDR mask are undocumented"
    ),
    _choice(
        "twilio.unknown_parameters", "ignored|refused", "20001's text says ignored, but it is an error too"
    ),
    _choice("twilio.friendly_name_over_64", "accepted|refused", "documented 64 at most; 65 accepted live"),
    _choice("twilio.domain_case", "lowered|kept", "case folding of DomainName is undocumented"),
    _choice(
        "twilio.disaster_recovery_method", "POST|null", "unset: acceptance tests read empty, a guide POST"
    ),
    _choice("twilio.unset_text", "null|empty", "unset URLs and SIDs appear as null and as an empty string"),
    _choice("twilio.api_key", "main|standard", "a standard key cannot use /Accounts"),
    _choice(
        "twilio.foreign_account",
        "404|401",
        "a path into an account that is not the credentials': undocumented",
    ),
    _choice("twilio.unset_route", "404|us1", "the Region of a trunk that was given none is undocumented"),
    _choice(
        "twilio.events",
        "every type|numbers only|forbidden",
        "which resource types of trunking have events, and which keys may read them, is undocumented",
    ),
    _choice("twilio.event_properties", "present|absent", "event_data of a trunk: no public sample was found"),
    _choice("twilio.event_of_an_attachment", "list|trunk", "which resource has the event: undocumented"),
    Switch("portsip.latency_ms", range(0, 60_001), "not a fact of the vendor: how slow its answers are"),
    Switch(
        "portsip.requests_per_minute",
        range(10_000, 999, -1),
        "1,000 to 10,000 from one address, by version, and a setting of the server",
    ),
    _choice("portsip.retry_after", "absent|seconds", "what the PBX answers beyond its limit is unstated"),
    Switch("portsip.expires_in", range(3600, 0, -1), "3600 in the specification, 1800 in the guide"),
    _choice(
        "portsip.bad_credentials_status", "400|401|403", "400 in the guide; 22.6 changed the login errors"
    ),
    _choice("portsip.lockout_status", "403|400|401", "the HTTP status of DENIED is undocumented"),
    _choice(
        "portsip.lockout_scope", "sign_in|all", "whether a blocked address keeps its sessions is undocumented"
    ),
    _choice("portsip.refresh_token_single_use", "yes|no", "whether the old refresh token dies is unstated"),
    _choice("portsip.refresh_keeps_scope", "yes|no", "the tenant of a session after a refresh is unstated"),
    _choice("portsip.switch_without_id", "system|refused", "the way back to system scope is a guess"),
    _choice("portsip.system_two_factor", "off|on", "system administrators have two-factor since 22.6 only"),
    _choice("portsip.provider_update", "merge|replace", "partial or full replacement is unstated"),
    _choice(
        "portsip.provider_password", "kept|lost", "whether an update without the password keeps it: unstated"
    ),
    _choice("portsip.rule_update", "merge|replace", "partial or full replacement is unstated"),
    _choice("portsip.assignee_update", "merge|replace", "partial or full replacement is unstated"),
    _choice("portsip.unknown_fields", "ignored|kept|refused", "unknown fields in a body: unstated"),
    _choice("portsip.unset_text", "empty|null|absent", "unset values appear as null or as an empty string"),
    _choice(
        "portsip.trunk_name", "unique|free", "uniqueness of a trunk's name within its scope is not stated"
    ),
    _choice(
        "portsip.pool_overlap",
        "brand|trunk|global",
        "whether 'provider' means brand, trunk or all is unstated",
    ),
    _choice("portsip.odd_ranges", "refused|accepted", "reversed ranges and unequal digit lengths: unstated"),
    _choice("portsip.did_removal_in_use", "accepted|refused", "removing a DID that a rule uses: unstated"),
    _choice(
        "portsip.same_inbound_rule", "refused|accepted", "a second rule, same DID, trunk and mask: unstated"
    ),
    _choice(
        "portsip.system_list", "system_level|all", "whether tenants' trunks show in system scope is unstated"
    ),
    _choice("portsip.tenant_transports", "visible|hidden", "whether tenants may list transports is unstated"),
    _choice("portsip.filter", "works|ignored", "the filterable fields are unlisted"),
    _choice("portsip.length_counts_plus", "no|yes", "whether a leading + is a digit of a length: unstated"),
    _choice("portsip.strip_counts_plus", "yes|no", "whether a leading + is a digit to strip: unstated"),
    _choice(
        "portsip.equal_priorities", "first|longest|last", "of rules of one priority any one may be selected"
    ),
    _choice(
        "portsip.emergency_list", "before|after", "how the PBX's own list stands to outbound rules: unstated"
    ),
    _choice(
        "portsip.admin_settings",
        "readable|forbidden",
        "which administrators may read /admin/settings depends on roles (22.3: System.Settings)",
    ),
    _choice("portsip.audit_log", "readable|forbidden", "who may read the audit log depends on the role"),
    _choice("portsip.audit_scope", "session|all", "whether a tenant's scope narrows the audit log: unstated"),
    _choice("portsip.audit_order", "newest|oldest", "the order of audit logs without orderby is unstated"),
    _choice("portsip.audit_states", "JSON|absent", "what old_state and new_state hold is unstated"),
)

_BY_NAME = {switch.name: switch for switch in ALL}


class Switches:
    """The present settings of all switches."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.reset()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def reset(self) -> None:
        """Set every switch to its default."""
        self._values = {switch.name: switch.default for switch in ALL}

    def set(self, settings: dict[str, Any]) -> None:
        """Change switches; all or none.

        Raises ``ValueError`` that names the switch and its allowed values.
        """
        checked: dict[str, Any] = {}
        for name, value in settings.items():
            switch = _BY_NAME.get(name)
            if switch is None:
                raise ValueError(f"unknown switch {name!r}; known: {', '.join(_BY_NAME)}")
            # bool is an int in Python, but never a setting here
            if isinstance(value, bool) or value not in switch.values:
                raise ValueError(f"{name} cannot be {value!r}; allowed: {_allowed(switch)}")
            checked[name] = value
        self._values.update(checked)

    def values(self) -> dict[str, Any]:
        """Return the settings by name."""
        return dict(self._values)

    def describe(self) -> list[dict[str, Any]]:
        """Return every switch with its setting, default, allowed values and source."""
        return [
            {
                "name": switch.name,
                "value": self._values[switch.name],
                "default": switch.default,
                "allowed": _allowed(switch),
                "source": switch.source,
            }
            for switch in ALL
        ]


def _allowed(switch: Switch) -> list[str] | str:
    if isinstance(switch.values, range):
        return f"{min(switch.values)} to {max(switch.values)}"
    return list(switch.values)
