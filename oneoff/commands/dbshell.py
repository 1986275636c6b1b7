"""`dbshell`, as Django calls it."""

from oneoff.commands.db.shell import Shell

__all__ = ["Shell"]
