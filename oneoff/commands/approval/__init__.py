"""Let a second person approve a run before it starts."""
