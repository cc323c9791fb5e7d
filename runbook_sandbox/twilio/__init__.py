"""Twilio's trunking v1, routes v2 and 2010-04-01 APIs, as OpenAPI documents and guides describe them."""
