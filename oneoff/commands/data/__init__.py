"""Take rows out of tables and into files, and back."""
