"""`makemigrations` is `db create-migration`."""

from oneoff.commands.db.create_migration import CreateMigration

__all__ = ["CreateMigration"]
