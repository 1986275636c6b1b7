"""Service accounts, which are programs that may call the API."""
