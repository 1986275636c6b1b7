"""Write past the session, by an engine of one's own."""
