"""A second reading of PortSIP's E.164 processing, which runs before the rules, from its page alone."""

import re
from typing import Any


def processed(settings: dict[str, Any], dialled: str) -> str:
    """Return the number that the outbound rules see; the sentences are those of "E164 Number Processing".

    1. "Disabled: The PBX does not modify the dialed number"; only numbers "that begin with a leading +" are
       processed.
    2. "When enabled, the PBX removes the leading +".
    3. "If the dialed number begins with the configured Select Country code": "If Remove if same country is
       enabled, the country code is discarded. If Remove Area Code is enabled, the area code is also removed"
       (when the country code stays, the area code is not at the beginning, and stays too): "Prefix + National
       Code + Remaining Number".
    4. Otherwise "Prefix + International Code + Dialed Number".

    Whether brackets and spaces go where the processing is disabled is not said: they are left out here.
    """
    if not settings["enabled"] or not dialled.startswith("+"):
        return dialled
    number = dialled.removeprefix("+")
    [country_code] = re.findall(r"\((\d+)\)$", settings["country"])
    if not number.startswith(country_code):
        return settings["prefix"] + settings["international_code"] + number
    if settings["remove_duplicate_countries"]:
        number = number.removeprefix(country_code)
        if settings["remove_duplicate_area_codes"]:
            number = number.removeprefix(settings["area_code"])
    return settings["prefix"] + settings["national_code"] + number
