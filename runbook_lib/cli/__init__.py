"""The ``runbook`` command: one module for each group of its commands, and what they share."""

from .app import app, main

__all__ = ["app", "main"]
