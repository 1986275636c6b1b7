"""Plan, apply, undo and write the project's Alembic revisions, and load its sample data.

The `db` commands use the resource `migrations`, which is in `resource` and calls the other modules.
`db migrate` works in five steps:

1. `resource`: `Migrations.head_if_applied` gets the head from `head_from_files`. If the database is
   at the head, the command ends here.
2. `history` reads the revision files with Alembic and plans the steps.
3. `revision_runner` runs the steps on one connection, each in its own transaction.
4. `alembic_context` executes the project's `migrations/env.py`, once for each step.
5. env.py calls `oneoff.run_env` (in `env`), which passes the connection to Alembic. Alembic calls
   `upgrade()` of the revision.
"""
