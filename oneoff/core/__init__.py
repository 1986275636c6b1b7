"""Define the vocabulary of commands and runs. Imports only the standard library and utils."""
