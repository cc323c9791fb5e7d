"""The runbook's version; it grows with every change of behaviour, and ``CHANGELOG.md`` says which."""

VERSION = "0.2.0"
