"""Show who ran which command, when, and how it ended."""
