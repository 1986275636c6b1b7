"""Service accounts: programs that may call the API."""
