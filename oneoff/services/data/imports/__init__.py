"""Import the rows of a file into a table."""
