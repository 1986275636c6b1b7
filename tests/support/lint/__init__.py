"""Revisions that `db lint` should find, and others that it should not."""
