"""Commands that need approvals."""
