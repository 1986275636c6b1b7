"""Small helpers that every other package may use. Imports only the standard library."""
