"""Rows of tables: export, import, clean up, transform."""
