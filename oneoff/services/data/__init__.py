"""Rows of tables, out of the database into files and back."""
