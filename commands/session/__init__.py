"""List and revoke the sessions of users."""
