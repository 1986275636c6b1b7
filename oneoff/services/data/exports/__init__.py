"""Export the rows of a table to a file or to standard output."""
