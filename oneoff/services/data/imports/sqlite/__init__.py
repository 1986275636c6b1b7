"""Import by batched INSERT statements, on SQLite."""
