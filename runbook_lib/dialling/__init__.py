"""Where a dialled number goes: the rules of a tenant as a whole, judged and explained."""
