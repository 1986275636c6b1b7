"""`rollback` is `db rollback`."""

from oneoff.commands.db.rollback import Rollback

__all__ = ["Rollback"]
