"""The ground floor: small helpers that need the standard library alone."""
