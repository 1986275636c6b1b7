"""Export, import, clean up and transform the rows of tables."""
