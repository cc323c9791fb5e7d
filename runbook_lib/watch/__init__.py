"""Looking at all tenants of a site: what differs from their parameters, and who changed it. Never a write."""
