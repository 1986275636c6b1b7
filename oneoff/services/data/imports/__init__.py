"""Import rows of a file into a table."""
