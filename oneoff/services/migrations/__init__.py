"""Plan, apply, undo and write the project's Alembic revisions, and load its sample data.

The `db` commands use the resource `migrations`, which is in `resource` and calls the other modules.
`db migrate` works in five steps:

1. `resource`: `Migrations.head_if_applied` gets the head from `head_from_files`. If the database is
   at the head, the command ends here.
2. `history` reads the revision files with Alembic and plans the steps.
3. `env_file` executes the project's `migrations/env.py` in a thread, and stores its options.
4. While env.py waits in `run_migrations`, `revision_runner` runs the steps on the connection of the
   run, each in its own transaction.
5. `alembic_context` passes connection and options to Alembic for each step. Alembic calls
   `upgrade()` of the revision.
"""
