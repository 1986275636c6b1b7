"""Plan, apply, undo and write the project's Alembic revisions, and load its sample data.

The `db` commands use the resource `migrations`, which is in `resource` and calls the other modules:
`history` reads the revision files, `upgrade` runs revisions on the database, `alembic_context`
calls Alembic. `env` is what the project's own `migrations/env.py` calls.
"""
