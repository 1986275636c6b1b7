"""Users, who sign in with a password and have a role."""
