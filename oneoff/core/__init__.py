"""The vocabulary of commands and runs. It needs the standard library alone."""
