"""The built-in commands: they need no model of the project."""
