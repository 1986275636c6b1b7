"""Plan, apply, undo and write the project's Alembic revisions, and load its sample data.

The `db` commands use the resource `migrations`, which is in `resource` and calls the other modules.
`db migrate` takes this way:

1. `resource`: `Migrations.head_if_applied` asks `head_from_files`. At the head, nothing is to do.
2. `history` lets Alembic read the revision files, and plans the steps.
3. `revision_runner` runs the steps on one connection, each in a transaction of its own.
4. `alembic_context` executes the project's `migrations/env.py`, once for each step.
5. `env` is `oneoff.run_env`, which env.py calls: it gives the connection to Alembic, and Alembic
   calls `upgrade()` of the revision.
"""
