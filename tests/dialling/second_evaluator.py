"""A second reading of PortSIP's outbound rules, from PortSIP's pages alone, to compare the product with."""

from collections.abc import Collection, Sequence
from typing import Any


def sent(
    rules: Sequence[dict[str, Any]],
    dialled: str,
    caller: str,
    *,
    length_counts_plus: bool,
    first_of_equals: str,
    caller_groups: Collection[str] = (),
) -> str | None:
    """Return the number that the first route's trunk receives; None if no rule or no route applies.

    The sentences are those of "Configuring Outbound Rule" (OBR) and of the REST API's schema (API).
    1. API: "Whether to enable outbound rule."
    2. OBR: "use one or more of the following conditions"; "even if all other rule conditions are met": each
       that is given must hold. What a rule without any does is not said: here it applies to every call.
    3. OBR: "Apply the rule to calls that begin with specific prefixes. Example: 00;123;88".
    4. OBR: "based on the total number of digits in the dialed number. Example: 8;10;12". Whether a leading +
       counts is not said (the switch), nor whether * and # do: here they do.
    5. OBR: "a specific extension or a range of extensions", API: "101-110;199"; OBR: "extension groups".
    6. OBR: "the rule with the highest priority (lowest number) is applied". "If multiple rules share the same
       priority, any one of those rules may be selected": the switch selects the first, the last, or the rule
       whose prefix is the longest that fits (of several, the first).
    7. OBR: "sent to trunks in the configured order"; API: "Enable this route or not."
    8. OBR: "Removes a specified number of digits from the beginning of the called number." Whether a leading
       + counts is not said: here it does.
    9. OBR, older edition: for "002345, we specify 2 in the Strip digits field and set Prepend to +44, the
       final called number [...] will be +442345": strip first, then prepend.
    """
    length = len(dialled) - (dialled.startswith("+") and not length_counts_plus)
    matching = []
    for rule in rules:
        reach = max(
            (len(text) for text in _listed(rule, "number_prefix") if dialled.startswith(text)), default=-1
        )
        of_length = {"", str(length)} & set(_listed(rule, "number_length"))
        called_by = any(_covers(text, caller) for text in _listed(rule, "number_mask"))
        in_group = not rule.get("groups") or set(rule["groups"]) & set(caller_groups)
        if rule["enabled"] and reach >= 0 and of_length and called_by and in_group:
            matching.append((rule["priority"], reach, rule["routes"]))
    equals = [entry for entry in matching if entry[0] == min(priority for priority, *_ in matching)]
    if not equals:
        return None
    chosen = {"first": equals[0], "last": equals[-1], "longest": max(equals, key=lambda entry: entry[1])}
    routes = [route for route in chosen[first_of_equals][2] if route["enabled"]]
    return routes[0]["prepend"] + dialled[routes[0]["strip_digits"] :] if routes else None


def _listed(rule: dict[str, Any], field: str) -> list[str]:
    return (rule[field] or "").split(";")


def _covers(extensions: str, caller: str) -> bool:
    low, _, high = extensions.partition("-")
    return int(low) <= int(caller) <= int(high) if high else low in {"", caller}
