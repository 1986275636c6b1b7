"""Commands of the small project that queue jobs."""
