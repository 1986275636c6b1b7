"""Manage users: their access, roles and passwords."""
