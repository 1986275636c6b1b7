"""Create and upgrade the framework's own tables, and read what they store."""
