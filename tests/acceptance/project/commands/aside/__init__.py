"""Commands that write without the session, with a separate engine."""
