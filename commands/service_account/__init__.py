"""Manage service accounts: programs that may call the API."""
