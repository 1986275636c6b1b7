"""Manage the database: its schema, sample data and state."""
