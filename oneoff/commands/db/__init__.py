"""The database: its schema, its sample data, its state."""
