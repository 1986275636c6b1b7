"""Installed packages that add commands, resources and listeners, found by their entry points."""
