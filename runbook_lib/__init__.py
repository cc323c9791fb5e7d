"""Runbooks that connect PortSIP PBX tenants to Twilio Elastic SIP Trunking."""
