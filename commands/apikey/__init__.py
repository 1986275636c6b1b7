"""Create, list, rotate and revoke API keys."""
