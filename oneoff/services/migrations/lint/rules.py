"""List the rules of `db lint`: what is unsafe, why, and what a revision should do instead.

`checks` finds what breaks them, and `squawk` adds rules of its own.
"""

from __future__ import annotations

from typing import NamedTuple

_COPY = (
    "add a new column, and let the code write both",
    "fill the new column in batches: data transform",
    "let the code read the new column, and later drop the old one",
)
_OUTSIDE = "with op.get_context().autocommit_block():"
_INDEX = '    op.create_index("{name}", "{table}", [...], postgresql_concurrently=True)'
_UNIQUE_INDEX = _INDEX.replace("[...]", "[...], unique=True")


class Rule(NamedTuple):
    """One rule.

    Attributes:
        why: What goes wrong; begins with the operation.
        instead: What to do: lines of Alembic, with the names {table} and {name} and the other
            {words}, or steps.
        everywhere: Whether it also holds on SQLite: the running code is affected, not a lock.
    """

    why: str
    instead: tuple[str, ...]
    everywhere: bool = False


RULES = {
    "add-check": Rule(
        "a new check blocks reads and writes while it compares every row",
        (
            'op.create_check_constraint(op.f("{name}"), "{table}", ..., postgresql_not_valid=True)',
            "# in the next revision:",
            """op.execute('ALTER TABLE {table} VALIDATE CONSTRAINT "{name}"')""",
        ),
    ),
    "add-column-generated": Rule(
        "adding a stored generated column blocks reads and writes while the table is rewritten",
        ("add a nullable column, let a trigger or the code fill it", *_COPY[1:2]),
    ),
    "add-column-json": Rule(
        "the type json has no equality, so SELECT DISTINCT of the table fails",
        (
            "from sqlalchemy.dialects import postgresql",
            'op.add_column("{table}", sa.Column("{name}", postgresql.JSONB()))',
        ),
    ),
    "add-column-not-null": Rule(
        "a new column that is NOT NULL without a default fails if the table has rows, and the "
        "inserts of the running code fail",
        (
            'column = sa.Column("{name}", ..., server_default=..., nullable=False)',
            'op.add_column("{table}", column)',
            "# or nullable; then fill it in batches, and set NOT NULL",
        ),
    ),
    "add-column-serial": Rule(
        "adding a column that counts blocks reads and writes while the table is rewritten",
        ("create a new table with such a column, and copy the rows in batches",),
    ),
    "add-column-volatile-default": Rule(
        "adding a column with a default that differs by row blocks reads and writes while the "
        "table is rewritten",
        (
            'op.add_column("{table}", sa.Column("{name}", ..., nullable=True))',
            'op.alter_column("{table}", "{name}", server_default=...)',
            "# fill the existing rows in batches: data transform",
        ),
    ),
    "add-exclusion": Rule(
        "an exclusion constraint blocks reads and writes while its index is built, and has no "
        "other form",
        ("run it in a maintenance window: system maintenance on", "add a waiver"),
    ),
    "add-foreign-key": Rule(
        "a new foreign key blocks writes to both tables while it looks up every row",
        (
            'op.create_foreign_key(op.f("{name}"), "{table}", ..., postgresql_not_valid=True)',
            "# in the next revision:",
            """op.execute('ALTER TABLE {table} VALIDATE CONSTRAINT "{name}"')""",
        ),
    ),
    "add-primary-key": Rule(
        "a new primary key blocks reads and writes while its index is built",
        (
            _OUTSIDE,
            _UNIQUE_INDEX,
            """op.execute('ALTER TABLE {table} ADD PRIMARY KEY USING INDEX "{name}"')""",
        ),
    ),
    "add-unique": Rule(
        "a new unique constraint blocks reads and writes while its index is built",
        (
            _OUTSIDE,
            _UNIQUE_INDEX,
            """op.execute('ALTER TABLE {table} ADD UNIQUE USING INDEX "{name}"')""",
        ),
    ),
    "backfill": Rule(
        "changing many rows in one statement locks them until the revision commits",
        ("change them in batches: write a transform, and run data transform",),
    ),
    "change-column-type": Rule(
        "changing the type blocks reads and writes while the table is rewritten",
        _COPY,
    ),
    "concurrently-in-transaction": Rule(
        "CONCURRENTLY fails in a transaction",
        (_OUTSIDE, "    ..."),
    ),
    "create-index": Rule(
        "creating an index blocks writes until it is built",
        (
            _OUTSIDE,
            _INDEX,
        ),
    ),
    "detach-partition": Rule(
        "detaching a partition blocks reads and writes of all partitions",
        (
            _OUTSIDE,
            '    op.execute("ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY")',
        ),
    ),
    "drop-column": Rule(
        "the running code fails if it still uses the column",
        (
            "remove the column from the models, and deploy that",
            'drop it in a later release, with a waiver or phase = "contract"',
        ),
        everywhere=True,
    ),
    "drop-index": Rule(
        "dropping an index blocks reads and writes, and waits for all transactions that use it",
        (
            _OUTSIDE,
            '    op.drop_index("{name}", postgresql_concurrently=True)',
        ),
    ),
    "drop-object": Rule(
        "the running code fails if it still uses the object",
        (
            "deploy code that does not use it",
            'drop it in a later release, with a waiver or phase = "contract"',
        ),
        everywhere=True,
    ),
    "drop-table": Rule(
        "the running code fails if it still uses the table",
        (
            "remove the table from the models, and deploy that",
            'drop it in a later release, with a waiver or phase = "contract"',
        ),
        everywhere=True,
    ),
    "lock-without-timeout": Rule(
        "outside a transaction the lock timeout of migrate does not apply, so all sessions that "
        "use the table wait as long as this statement",
        (
            "move the statement out of the autocommit_block, or write before it:",
            "op.execute(\"SET lock_timeout = '5s'\")",
        ),
    ),
    "not-checkable": Rule(
        "what the revision does can't be read from its SQL",
        ("use operations of Alembic, or plain SQL", "or check it by hand, and add a waiver"),
    ),
    "reindex": Rule(
        "REINDEX blocks writes until the index is built",
        (_OUTSIDE, '    op.execute("REINDEX {words} CONCURRENTLY {name}")'),
    ),
    "rename-column": Rule(
        "the running code fails, because it uses the old name",
        _COPY,
        everywhere=True,
    ),
    "rename-object": Rule(
        "the running code fails, because it uses the old name",
        ("create an object with the new name, and later drop the old one",),
        everywhere=True,
    ),
    "rename-table": Rule(
        "the running code fails, because it uses the old name",
        (
            'op.rename_table("{table}", "{name}")',
            'op.execute("CREATE VIEW {table} AS SELECT * FROM {name}")',
            "# in a later release:",
            'op.execute("DROP VIEW {table}")',
        ),
        everywhere=True,
    ),
    "rewrite-table": Rule(
        "the statement blocks reads and writes while it writes the whole table again",
        ("run it in a maintenance window: system maintenance on", "add a waiver"),
    ),
    "set-not-null": Rule(
        "SET NOT NULL blocks reads and writes while it reads every row",
        (
            'where = op.f("{name}_not_null"), "{table}", "{name} IS NOT NULL"',
            "op.create_check_constraint(*where, postgresql_not_valid=True)",
            "# in the next revision:",
            'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {name}_not_null")',
            "# in the one after it:",
            'op.alter_column("{table}", "{name}", nullable=False)',
            'op.drop_constraint(op.f("{name}_not_null"), "{table}")',
        ),
    ),
    "several-locks": Rule(
        "the transaction keeps the lock of one table while it waits for that of the next, which "
        "can deadlock with the application",
        ("change each table in a revision of its own",),
    ),
    "truncate": Rule(
        "TRUNCATE removes all rows, and blocks reads and writes until the revision commits",
        ("delete the rows in batches: data cleanup, or a transform",),
    ),
    "validate-under-lock": Rule(
        "the transaction already blocks writes to the table, so they wait until every row is "
        "compared",
        ("validate the constraint in the next revision",),
    ),
}
"""The rules by name. docs/reference/migration-lint.md lists them too."""

SQUAWK = {
    "ban-alter-identity": "the running code may insert its own values, or none",
    "ban-create-domain-with-constraint": "a check of a domain can't be added as NOT VALID",
    "ban-drop-default": "inserts of the running code may fail without the default",
    "ban-drop-generated-expression": "the running code does not write the column",
    "ban-duplicate-column-assignments": "PostgreSQL refuses a column that is assigned twice",
    "identifier-too-long": "PostgreSQL cuts the name off",
    "syntax-error": "PostgreSQL refuses the statement",
    "transaction-nesting": "the transaction is not the one that the revision expects",
}
"""The rules that only squawk checks, with what goes wrong. In a waiver: `squawk/NAME`."""
