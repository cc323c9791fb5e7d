"""The sandbox: loopback servers that behave as Twilio's two APIs and PortSIP's API do.

One process, two ports: Twilio's trunking v1 and 2010-04-01 APIs over plain HTTP together with the
control routes under ``/_sandbox/``, and PortSIP's API over TLS under ``/api``. Behaviour follows the
vendors' public documents; what those leave open is a named switch (``switches.py``).
"""
