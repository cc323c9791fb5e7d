"""The facts about both vendors that the sandbox implements, and the test that shows each.

A statement of ``../shared/facts`` is named by its file (T: Twilio, P: PortSIP), its section, and its place
in the section: rows of tables, items of lists and paragraphs are counted from 1. One statement may hold
several facts. The confidence is the one that the file gives: H documented, M likely, L a guess, ? not found.
"""

from __future__ import annotations

from typing import NamedTuple

FILES = {"T": "twilio-elastic-sip-trunking.md", "P": "portsip-rest-api.md"}


class Fact(NamedTuple):
    """One fact: its statement, its confidence, what it says in our words, the test that shows it."""

    of: str
    confidence: str
    says: str
    shown_by: str


def _in(folder: str, short: str) -> str:
    file, _, name = short.partition("::")
    return f"tests/{folder}/test_{file}.py::test_{name}"


def _facts(folder: str, *rows: tuple[str, str, str, str]) -> tuple[Fact, ...]:
    return tuple(Fact(of, confidence, says, _in(folder, test)) for of, confidence, says, test in rows)


FACTS: tuple[Fact, ...] = (
    *_facts(
        "sandbox",
        # Twilio: trunks
        (
            "T1.1",
            "H",
            "A trunk may lack domain and name; neither is made up",
            "twilio::nothing_is_generated_for_a_trunk",
        ),
        ("T1.1", "H", "An empty name is read back as null", "twilio::nothing_is_generated_for_a_trunk"),
        ("T1.2", "H", "A domain ends in pstn.twilio.com; malformed ones are 21245", "twilio::domain_names"),
        ("T1.3", "H", "A sub-domain needs its parent (21247)", "twilio::domain_names"),
        ("T1.3", "H", "A parent with sub-domains cannot go (21247)", "twilio::sub_domain_of_an_own_trunk"),
        ("T1.4", "H", "A domain is taken once for all customers (21248)", "twilio::domain_names"),
        ("T1.4", "M", "The same account's own domain may be 21245 instead", "twilio::switches"),
        ("T1.6", "?", "Labels as DNS allows them, case-insensitive", "twilio::domain_names"),
        ("T1.8", "H", "The 101st trunk of an account is 21244", "twilio::limit_of_trunks"),
        ("T1.9", "M", "Defaults of a new trunk", "twilio::whole_trunk_with_the_sdk"),
        (
            "T1.10",
            "H",
            "A word that an enumeration lacks is 20001",
            "twilio::bad_enumeration_and_ignored_symmetric_rtp",
        ),
        (
            "T1.11",
            "H",
            "SymmetricRtpEnabled is passed over in silence",
            "twilio::bad_enumeration_and_ignored_symmetric_rtp",
        ),
        ("T1.13", "M", "auth_type follows from the lists on the trunk", "twilio::whole_trunk_with_the_sdk"),
        ("T1.13", "M", "auth_type is read late, too", "twilio::reads_lag_behind_writes"),
        ("T1.14", "H", "Recording is a resource below the trunk", "twilio::recording"),
        ("T1.15", "H", "Deleting a trunk keeps its numbers", "twilio::delete_keeps_the_numbers"),
        (
            "T1.15",
            "?",
            "A number with emergency calling holds its trunk (21634)",
            "twilio::delete_of_a_trunk_with_emergency_calling",
        ),
        # Twilio: origination
        ("T2.1", "H", "All five parameters are required", "twilio::origination_urls"),
        ("T2.1", "H", "The eleventh origination URI of a trunk is 21249", "twilio::origination_urls"),
        ("T2.2", "H", "Priority to 65535; weight 0 is taken", "twilio::origination_urls"),
        ("T2.3", "H", "sips: is taken, http: is not", "twilio::origination_urls"),
        ("T2.4", "H", "Host, port and parameters of a SIP URI", "twilio::origination_urls"),
        ("T2.12", "M", "Private hosts are taken", "twilio::origination_urls"),
        # Twilio: access lists
        (
            "T3.1",
            "H",
            "Names of lists, names and addresses of entries are unique (21235)",
            "twilio::names_and_entries_of_lists",
        ),
        (
            "T3.2",
            "H",
            "IPv4 only; the prefix is 32 unless given; /8 is taken",
            "twilio::names_and_entries_of_lists",
        ),
        ("T3.3", "M", "Loopback addresses are not refused", "twilio::names_and_entries_of_lists"),
        ("T3.4", "H", "1,000 lists (21255), 100 addresses in each (21237)", "twilio::limits_of_lists"),
        (
            "T3.5",
            "M",
            "A list on a trunk cannot be deleted (21236)",
            "twilio::lists_attach_twice_and_delete_while_mapped",
        ),
        (
            "T3.6",
            "M",
            "Attaching answers the list's sid; a second time is 21245",
            "twilio::lists_attach_twice_and_delete_while_mapped",
        ),
        (
            "T3.7",
            "M",
            "What was attached may be read some seconds later only",
            "twilio::reads_lag_behind_writes",
        ),
        # Twilio: credentials
        ("T4.1", "H", "A credential list's name is unique (21240)", "twilio::names_and_entries_of_lists"),
        ("T4.1", "H", "100 credential lists (21239), 1,000 users in each (21242)", "twilio::limits_of_lists"),
        (
            "T4.2",
            "H",
            "User name to 32; password 12 or more of three kinds",
            "twilio::names_and_entries_of_lists",
        ),
        ("T4.3", "M", "A bad credential is 21243", "twilio::names_and_entries_of_lists"),
        (
            "T4.4",
            "H",
            "Only the password can be changed, and it is never shown",
            "twilio::names_and_entries_of_lists",
        ),
        (
            "T4.5",
            "M",
            "A credential list on a trunk cannot be deleted (21241)",
            "twilio::lists_attach_twice_and_delete_while_mapped",
        ),
        ("T4.6", "H", "Twilio's SDK reaches both kinds of list", "twilio::whole_trunk_with_the_sdk"),
        # Twilio: numbers
        (
            "T5.1",
            "H",
            "Attaching answers the number's sid and voice URL",
            "twilio::the_voice_address_stays_and_is_ignored_on_a_trunk",
        ),
        (
            "T5.2",
            "H",
            "On a trunk, the voice URL is not called",
            "twilio::the_voice_address_stays_and_is_ignored_on_a_trunk",
        ),
        ("T5.2", "H", "A trunk takes the voice application away", "twilio::whole_trunk_with_the_sdk"),
        ("T5.2", "H", "A voice application takes the trunk away", "twilio::number_updates"),
        ("T5.3", "H", "A number's own resource sets and clears its trunk, too", "twilio::number_updates"),
        ("T5.5", "H", "Taken off a trunk, a number stays in the account", "twilio::whole_trunk_with_the_sdk"),
        ("T5.6", "H", "Buying: 21422, 21421, 21452", "twilio::buying_a_number"),
        ("T5.8", "H", "An emergency address is pending first, registered later", "twilio::number_updates"),
        # Twilio: the API
        ("T6.1", "H", "Account and token, or API key; a standard key has no accounts", "twilio::credentials"),
        ("T6.2", "H", "Trunking acts on the account of the credentials", "twilio::accounts"),
        (
            "T6.4",
            "H",
            "2010-04-01 ends its paths in .json, v1 does not",
            "contract::every_operation_of_twilio",
        ),
        ("T6.5", "H", "RFC 2822 dates there, ISO dates in v1", "twilio::dates"),
        ("T6.6", "H", "Relative links there, absolute ones in v1", "twilio::paging_of_both_styles"),
        ("T6.7", "H", "Two styles of pages; next links lead to the end", "twilio::paging_of_both_styles"),
        ("T6.8", "H", "50 to a page, 1,000 at most (20007)", "twilio::page_size_by_default_and_at_most"),
        ("T6.9", "H", "201, 200 and 204", "contract::every_operation_of_twilio"),
        (
            "T6.10",
            "H",
            "One body for errors: code, message, more_info, status",
            "twilio::errors_look_like_twilios",
        ),
        ("T6.11", "H", "Every answer has a request id", "twilio::errors_look_like_twilios"),
        ("T6.12", "H", "429 is 20429, with or without Retry-After", "faults::statuses"),
        ("T6.15", "H", "The SDK is pointed at the sandbox by base URL", "twilio::whole_trunk_with_the_sdk"),
        ("T6.20", "M", "An empty string clears a value", "twilio::nothing_is_generated_for_a_trunk"),
        ("T6.21", "H", "Without credentials: 401, 20003", "twilio::credentials"),
        ("T7.13", "H", "Twilio answers OPTIONS and takes no REGISTER", "portsip::status"),
        ("T9.1", "?", "The HTTP status of 212xx is 400 unless switched", "twilio::switches"),
        ("T9.2", "?", "A number that is on a trunk: taken or refused", "twilio::switches"),
        ("T9.3", "?", "A trunk with parts: deleted with them or refused", "twilio::switches"),
        (
            "T9.4",
            "?",
            "A list on a trunk: its deletion is refused",
            "twilio::lists_attach_twice_and_delete_while_mapped",
        ),
        ("T9.5", "?", "Reads late by up to 5 s", "twilio::reads_lag_behind_writes"),
        ("T9.6", "?", "A deleted domain may rest", "twilio::switches"),
        ("T9.7", "?", "A user name twice in a list is refused", "twilio::names_and_entries_of_lists"),
        ("T9.8", "?", "Bits outside the prefix are cut off", "twilio::names_and_entries_of_lists"),
        ("T9.9", "?", "Unknown parameters: passed over or 20001", "twilio::switches"),
        # PortSIP: signing in
        ("P1.1", "H", "TLS, everything below /api", "process::foreground_announces_serves_and_ends_cleanly"),
        ("P1.2", "H", "A certificate of its own authority", "process::certificate"),
        (
            "P1.3",
            "H",
            "System administrators sign in without a domain, tenants with theirs",
            "portsip::a_tenant_sees_its_own_and_shared_trunks",
        ),
        ("P1.4", "H", "Signing in answers tokens, or asks for a one-time code", "portsip::two_factor"),
        ("P1.5", "H", "A tenant's setting asks its administrators for a code", "portsip::two_factor"),
        ("P1.6", "H", "A token expires after the time that came with it", "portsip::tokens"),
        ("P1.7", "H", "Refreshing gives a new pair; the old pair is dead", "portsip::tokens"),
        ("P1.8", "H", "Signing out answers 200 without a body", "portsip::tokens"),
        ("P1.9", "H", "Tokens are opaque, base64-like", "portsip::tokens"),
        ("P1.11", "H", "One body for errors: a list of code and message", "portsip::info_needs_no_token"),
        (
            "P1.12",
            "H",
            "A wrong password is 400, an unknown domain 404",
            "portsip::unknown_domain_and_status_of_bad_credentials",
        ),
        (
            "P1.13",
            "H",
            "A wrong password may be 401 or 403",
            "portsip::unknown_domain_and_status_of_bad_credentials",
        ),
        (
            "P1.14",
            "H",
            "Five failures lock an address out for an hour",
            "portsip::lockout_after_five_wrong_passwords",
        ),
        (
            "P1.14",
            "H",
            "Both figures are settings",
            "portsip::settings_are_for_system_administrators_whose_role_has_them",
        ),
        (
            "P1.16",
            "H",
            "Switching gives no new token; the same one changes scope",
            "portsip::switching_changes_the_scope_of_the_same_token",
        ),
        (
            "P1.16",
            "M",
            "Switching without an id leads back",
            "portsip::switching_changes_the_scope_of_the_same_token",
        ),
        (
            "P1.17",
            "H",
            "The role is the one of the present scope",
            "portsip::switching_changes_the_scope_of_the_same_token",
        ),
        (
            "P1.17",
            "H",
            "Settings are for roles that have them",
            "portsip::settings_are_for_system_administrators_whose_role_has_them",
        ),
        # PortSIP: trunks
        ("P2.1", "H", "201 with an id of 18 digits, 200 empty, 204", "portsip::create_read_update_destroy"),
        ("P2.2", "H", "A trunk's name has 1 to 64 characters", "portsip::refused_trunks"),
        ("P2.3", "H", "A brand is free text", "portsip::the_brand_is_free_text"),
        ("P2.4", "H", "auth_mode: five words, none by default", "portsip::a_trunk_by_the_apis_own_defaults"),
        (
            "P2.5",
            "H",
            "The transport is one that the PBX has",
            "portsip::a_transport_that_the_pbx_lacks_is_refused",
        ),
        ("P2.6", "H", "Hostname and port are required; port to 65535", "portsip::refused_trunks"),
        (
            "P2.7",
            "H",
            "The proxy's host and port are required, empty and 0 will do",
            "portsip::a_trunk_by_the_apis_own_defaults",
        ),
        ("P2.10", "H", "The password is never shown", "portsip::create_read_update_destroy"),
        ("P2.11", "H", "Registration is on unless sent", "portsip::a_trunk_by_the_apis_own_defaults"),
        ("P2.12", "H", "600 s and 360 s", "portsip::a_trunk_by_the_apis_own_defaults"),
        ("P2.13", "H", "concurrency is required, 0 or more", "portsip::a_trunk_by_the_apis_own_defaults"),
        ("P2.14", "H", "Associated addresses are one string", "portsip::a_trunk_by_the_apis_own_defaults"),
        ("P2.15", "H", "At system level a trunk has no pool of its own", "portsip::assignees"),
        (
            "P2.17",
            "H",
            "Brand and auth_mode of an update are passed over",
            "portsip::create_read_update_destroy",
        ),
        ("P2.17", "M", "An update merges or replaces", "portsip::replacing_update"),
        (
            "P2.18",
            "H",
            "Summaries lack auth_mode, transport and auth_id",
            "portsip::a_tenant_sees_its_own_and_shared_trunks",
        ),
        ("P2.18", "H", "filter, search, orderby, skip and top to 100", "portsip::collections"),
        ("P2.19", "H", "ONLINE without registration, unless OPTIONS get no answer", "portsip::status"),
        ("P2.20", "H", "A trunk that a rule uses is not destroyed", "portsip::inbound_rules"),
        (
            "P2.21",
            "H",
            "Hostname and authentication name are unique in the PBX",
            "portsip::hostname_and_authentication_name_are_unique_in_the_pbx",
        ),
        ("P2.22", "H", "A system trunk is assigned; assigning again edits", "portsip::assignees"),
        (
            "P2.22",
            "H",
            "A tenant sees an assigned trunk as shared, read-only",
            "portsip::a_tenant_sees_its_own_and_shared_trunks",
        ),
        ("P2.22", "H", "Two gates of trunks at tenant level", "portsip::gates_of_tenant_level_trunks"),
        # PortSIP: pools
        ("P3.1", "H", "Numbers and ranges joined by semicolons", "portsip::refused_trunks"),
        ("P3.2", "H", "No entry begins with + or 0", "portsip::refused_trunks"),
        (
            "P3.4",
            "M",
            "Pools of tenants do not overlap, within a brand",
            "portsip::pools_of_different_tenants_do_not_overlap",
        ),
        ("P3.5", "L", "Reversed and lopsided ranges are refused", "portsip::refused_trunks"),
        ("P3.6", "H", "An inbound rule has one number or range of the pool", "portsip::inbound_rules"),
        ("P3.7", "H", "An outbound caller id lies in the pool, + allowed", "portsip::outbound_rules"),
        # PortSIP: tenants and rules
        (
            "P4.1",
            "H",
            "Summaries of tenants are narrower than details",
            "portsip::summaries_of_tenants_are_narrower_than_details",
        ),
        ("P4.1", "H", "A new tenant: what it needs, its defaults, unique domain", "portsip::new_tenant"),
        (
            "P4.1",
            "H",
            "Caller ids are written in the tenant's scope",
            "portsip::caller_ids_of_a_tenant_lie_in_its_pools",
        ),
        ("P5.1", "H", "Name, numbers and trunk are required of an inbound rule", "portsip::inbound_rules"),
        ("P5.2", "H", "Enabled by default", "portsip::inbound_rules"),
        ("P5.3", "H", "A caller mask may tell two rules apart", "portsip::inbound_rules"),
        ("P5.5", "H", "Three forwards of three actions", "portsip::inbound_rules"),
        ("P5.6", "H", "Office hours are global by default", "portsip::inbound_rules"),
        ("P5.7", "H", "Holidays: ids are written, objects are read", "portsip::holidays_are_objects_on_read"),
        (
            "P5.11",
            "H",
            "Same numbers and trunk with another mask is a rule of its own",
            "portsip::inbound_rules",
        ),
        ("P5.12", "H", "An outbound rule needs a name only", "portsip::outbound_rules"),
        ("P5.14", "H", "Lengths are joined by semicolons", "portsip::outbound_rules"),
        ("P5.16", "H", "Priority 1000 by default", "portsip::outbound_rules"),
        ("P5.17", "H", "PRIORITIZED by default", "portsip::outbound_rules"),
        ("P5.18", "H", "Six routes, strip to 9; not in summaries", "portsip::outbound_rules"),
        ("P6.1", "H", "/info needs no token; /network a system role", "portsip::info_needs_no_token"),
        ("P6.1", "M", "/network is for system roles", "portsip::network_is_for_system_administrators"),
        ("P6.2", "H", "UDP 5060, TCP 5063, TLS 5061", "portsip::administrator"),
        (
            "P6.2",
            "H",
            "A transport's status is asked for by protocol",
            "portsip::status_of_a_transport_is_asked_for_by_protocol",
        ),
        *(
            (f"P7.{row}", "H", f"The API's default of {name}", "portsip::a_trunk_by_the_apis_own_defaults")
            for row, name in enumerate(
                (
                    *("inlan", "verify_port", "rewrite_via_ip", "single_via_header", "adjust_sdp_direction"),
                    *("registration", "keep_alive", "keep_alive_interval", "concurrency (none)"),
                    *("remove_srtp_info", "stir_shaken_signature_required"),
                ),
                start=1,
            )
        ),
        ("P8.6", "H", "Fields of later versions: passed over, kept or refused", "portsip::unknown_fields"),
        (
            "PS.1",
            "H",
            "The whole check list, by the statements above",
            "contract::every_operation_of_portsip",
        ),
    ),
    *_facts(
        "sections",
        (
            "T1.13",
            "M",
            "The runbook waits for what is read late",
            "lag::every_section_ends_right_although_reads_lag",
        ),
        (
            "P2.16",
            "H",
            "The eight address ranges are sent, not left to the API",
            "tenant_level::every_step_reaches_the_state_of_the_guide",
        ),
        (
            "P6.3",
            "M",
            "The origination URI follows the PBX's transports",
            "connections::origination_fits_the_pbxs_transports",
        ),
        (
            "P7.12",
            "H",
            "Every option is sent, whatever the default",
            "tenant_level::every_step_reaches_the_state_of_the_guide",
        ),
        (
            "T7.1",
            "H",
            "All edges' signalling addresses are let in",
            "tenant_level::every_step_reaches_the_state_of_the_guide",
        ),
    ),
)

_CALLS = "about calls: the sandbox carries none"
_REGIONS = "one Region: the sandbox is the account's only one"
_SDK = "about the SDK's other clients and options, which the runbook does not use"
#: Statements, or ranges of them, that the sandbox does not act on, and why.
NOT_IMPLEMENTED: dict[str, str] = {
    "T1.5": _REGIONS,
    "T1.7": "the limit of 64 is a switch; a test of its own would show the switch alone",
    "T1.12": _CALLS,
    "T2.5": _CALLS,
    "T2.6": _CALLS + "; both parameters are taken as part of the URI",
    "T2.7": "a table of names that the runbook has; the sandbox takes any parameter",
    "T2.8-T2.11": _CALLS,
    "T2.13": "not found: a switch",
    "T2.14": _CALLS,
    "T3.8": "not found: a switch",
    "T5.4": "not found: two switches",
    "T5.7": "follows from the two requests being two",
    "T6.3": _REGIONS,
    "T6.13": "follows from the requests: a repeated POST makes a second resource",
    "T6.14": "a heading",
    "T6.16-T6.19": _SDK,
    "T6.22": "about the SDK's choice of hosts, which the runbook's client makes itself",
    "T7.2-T7.9": "addresses of calls; the runbook sends them (P2.16)",
    "T7.10-T7.12": _CALLS,
    "T7.14": _CALLS,
    "T8.1-T8.15": _CALLS,
    "P1.10": "the older sign-in, which the runbook does not use",
    "P1.15": "no rate is counted: 429 is a fault, by route and count",
    "P2.8-P2.9": "lengths only; the meaning shows in calls",
    "P3.3": _CALLS,
    "P5.4": _CALLS,
    "P5.8": "defaults that nothing here depends on",
    "P5.9-P5.10": "later than the version that the sandbox has",
    "P5.13": _CALLS,
    "P5.15": _CALLS,
    "P5.19": _CALLS,
    "P5.20": "groups are not simulated",
    "P5.21-P5.22": _CALLS,
    "P8.1-P8.5": "history of the documents",
    "P8.7": "an older version",
    "P9.1-P9.6": _CALLS,
    "P9.7": "no anti-hacking filter is simulated beyond the lockout",
    "P9.8-P9.10": "bugs of versions, media, and next steps outside of the guide's sections",
}

#: What is open: the switches that it became, or why it needs none.
OPEN: dict[str, tuple[str, ...] | str] = {
    "T1.4": ("twilio.own_domain_code",),
    "T1.6": ("twilio.domain_case",),
    "T1.7": ("twilio.friendly_name_over_64",),
    "T1.9": ("twilio.disaster_recovery_method", "twilio.unset_text"),
    "T1.15": ("twilio.trunk_delete",),
    "T2.2": "weight 0: the runbook sends 1 and more, as documented",
    "T2.3": "the code for other schemes: the runbook sends sip: only",
    "T2.13": ("twilio.duplicate_origination_url",),
    "T2.14": _CALLS,
    "T3.5": ("twilio.mapped_list_delete", "twilio.filled_list_delete"),
    "T3.7": ("twilio.read_lag_seconds",),
    "T3.8": ("twilio.cidr_host_bits",),
    "T4.2": "longest password and characters: the parameters allow no more than is surely taken",
    "T4.3": ("twilio.bad_credential_code",),
    "T5.3": ("twilio.clear_trunk_sid",),
    "T5.4": ("twilio.number_on_same_trunk", "twilio.number_on_other_trunk"),
    "T6.1": ("twilio.api_key",),
    "T6.2": ("twilio.foreign_account",),
    "T6.3": ("twilio.unset_route", "twilio.numbers_of_a_trunk"),
    "T6.10": "the code may be absent: the client then tells the HTTP status, whatever the body",
    "T6.12": "Retry-After: a fault with and without it",
    "T9.1": ("twilio.error_status_212xx",),
    "T9.2": ("twilio.number_on_same_trunk", "twilio.number_on_other_trunk"),
    "T9.3": ("twilio.trunk_delete",),
    "T9.4": ("twilio.mapped_list_delete",),
    "T9.5": ("twilio.read_lag_seconds",),
    "T9.6": ("twilio.domain_reuse_delay_seconds",),
    "T9.7": ("twilio.duplicate_username",),
    "T9.8": ("twilio.cidr_host_bits",),
    "T9.9": ("twilio.unknown_parameters",),
    "P1.4": "the body of verify_otp: taken to be that of a sign-in; without tokens it is an error",
    "P1.5": ("portsip.system_two_factor",),
    "P1.6": ("portsip.expires_in",),
    "P1.7": ("portsip.refresh_token_single_use", "portsip.refresh_keeps_scope"),
    "P1.12": ("portsip.lockout_status",),
    "P1.13": ("portsip.bad_credentials_status",),
    "P1.14": ("portsip.lockout_scope",),
    "P1.15": "status and headers of the rate limit: faults, by route and count",
    "P1.16": ("portsip.switch_without_id",),
    "P1.17": ("portsip.admin_settings",),
    "P2.1": ("portsip.unset_text",),
    "P2.2": ("portsip.trunk_name",),
    "P2.3": "the brand on the wire is a parameter of the runbook",
    "P2.17": ("portsip.provider_update", "portsip.provider_password", "portsip.rule_update"),
    "P2.18": ("portsip.filter",),
    "P2.20": "the code of a refusal: any is told as it comes",
    "P2.22": ("portsip.assignee_update", "portsip.system_list"),
    "P3.4": ("portsip.pool_overlap",),
    "P3.5": ("portsip.odd_ranges",),
    "P5.9": "the runbook leaves usage out",
    "P5.11": ("portsip.same_inbound_rule",),
    "P5.14": ("portsip.length_counts_plus",),
    "P5.16": ("portsip.equal_priorities",),
    "P5.21": ("portsip.strip_counts_plus",),
    "P6.2": ("portsip.tenant_transports",),
    "P8.6": ("portsip.unknown_fields",),
    "P9.8": ("portsip.did_removal_in_use",),
    "P9.10": ("portsip.emergency_list",),
    "PS.1": "the check list repeats what is above",
}
#: Switches that stand for no fact.
NO_FACT = {"twilio.latency_ms", "portsip.latency_ms"}
