"""Delete rows older than a rule allows."""
