"""Record every run in the database, and read the records."""
