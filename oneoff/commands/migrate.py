"""`migrate` is `db migrate`."""

from oneoff.commands.db.migrate import Migrate

__all__ = ["Migrate"]
