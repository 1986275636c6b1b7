"""`showmigrations` is `db status`."""

from oneoff.commands.db.status import Status

__all__ = ["Status"]
