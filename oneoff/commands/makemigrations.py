"""`makemigrations` is `db create-migration`.

The registry takes the class that `__all__` names, and runs are recorded as `db create-migration`.
"""

from oneoff.commands.db.create_migration import CreateMigration

__all__ = ["CreateMigration"]
