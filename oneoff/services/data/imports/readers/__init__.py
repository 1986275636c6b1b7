"""Read rows of a file, one module for each format."""
