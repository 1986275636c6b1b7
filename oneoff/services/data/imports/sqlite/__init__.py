"""Import into SQLite by batched INSERT statements."""
