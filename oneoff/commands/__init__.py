"""The built-in commands. They do not depend on the project's models."""
