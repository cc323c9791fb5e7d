"""The runbook's version; it grows with every change of behaviour, as listed in ``CHANGELOG.md``."""

VERSION = "0.4.0"
