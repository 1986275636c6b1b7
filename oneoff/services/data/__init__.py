"""Export rows of tables to files, and import them again."""
