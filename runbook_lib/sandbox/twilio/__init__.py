"""Twilio's trunking v1 and 2010-04-01 APIs, as their OpenAPI documents and guides describe them."""
