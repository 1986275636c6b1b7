"""Load a project and execute one run of a command."""
