"""Providers of the services, until each stands with its service."""
