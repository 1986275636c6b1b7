"""Request, decide and list approvals."""
