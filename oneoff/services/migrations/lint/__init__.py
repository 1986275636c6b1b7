"""Find operations in revisions that would stop the application or break its running code.

`db lint` and `db migrate` (through `safety`) call `report`, which does this for each revision:

1. `alembic_context` writes its SQL without running it, and `operations` reads the statements.
2. `facts` reads from the database how large the tables are.
3. `checks` finds the operations that break one of the `rules`.
4. `squawk` finds what only squawk checks, if it is installed.
5. `waivers` reads which rules the revision breaks on purpose.
"""
