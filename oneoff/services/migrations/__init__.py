"""Plan, run, create and undo the project's Alembic revisions."""
