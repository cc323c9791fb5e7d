"""The product where it is really installed and run: ``make deployments``."""
