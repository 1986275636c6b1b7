"""Adapters for the application's long-running processes: web and worker."""
