"""The command line: arguments in, exit code out. `manage.py` calls `main`."""

from oneoff.cli.process import main as main

__all__ = ["main"]
