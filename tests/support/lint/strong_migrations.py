"""A pair for each check of strong_migrations that is covered."""

from __future__ import annotations

from tests.support.lint.pairs import (
    CHECK,
    COLUMN,
    COPY,
    FILTERED,
    INDEX,
    KEY,
    NEW_TABLE,
    NOT_NULL,
    OUTSIDE,
    RENAMED,
    UNIQUE,
    Pair,
    outside,
    sql,
)

STRONG_MIGRATIONS = (
    Pair("removing a column", "drop-column", 'op.drop_column("users", "name")', COLUMN),
    Pair(
        "changing the type of a column",
        "change-column-type",
        'op.alter_column("users", "age", type_=sa.BigInteger())',
        ('op.alter_column("users", "name", type_=sa.Text())', *COPY),
    ),
    Pair(
        "renaming a column",
        "rename-column",
        'op.alter_column("users", "name", new_column_name="full_name")',
        COPY,
    ),
    Pair("renaming a table", "rename-table", 'op.rename_table("users", "people")', RENAMED),
    Pair(
        "renaming a schema",
        "rename-object",
        sql("ALTER SCHEMA crm RENAME TO sales"),
        (sql("CREATE SCHEMA sales"),),
    ),
    Pair(
        "creating a table with the `force` option",
        "drop-table",
        'op.drop_table("teams", if_exists=True)\n'
        'op.create_table("teams", sa.Column("id", sa.BigInteger()))',
        NEW_TABLE,
    ),
    Pair(
        "adding an auto-incrementing column",
        "add-column-serial",
        'op.add_column("users", sa.Column("n", sa.BigInteger(), sa.Identity()))',
        NEW_TABLE,
    ),
    Pair(
        "adding a stored generated column",
        "add-column-generated",
        'made = sa.Computed("lower(name)", persisted=True)\n'
        'op.add_column("users", sa.Column("n", sa.Text(), made))',
        COLUMN,
    ),
    Pair(
        "adding a check constraint",
        "add-check",
        'op.create_check_constraint("c", "users", "age > 0")',
        CHECK,
    ),
    Pair(
        "validating a check constraint or foreign key while writes are blocked",
        "validate-under-lock",
        "\n".join(CHECK),
        CHECK,
    ),
    Pair(
        "executing SQL directly",
        "not-checkable",
        sql("DO $$ BEGIN PERFORM 1; END $$"),
        (sql("SELECT 1"),),
    ),
    Pair(
        "backfilling data",
        "backfill",
        COLUMN[0] + "\n" + sql("UPDATE users SET x = name WHERE id > 0"),
        (*COLUMN, *FILTERED),
    ),
    Pair(
        "adding an index non-concurrently",
        "create-index",
        'op.create_index("i", "users", ["email"])',
        INDEX,
    ),
    Pair(
        "removing an index non-concurrently",
        "drop-index",
        'op.drop_index("i", "users")',
        (OUTSIDE + 'op.drop_index("i", "users", postgresql_concurrently=True)',),
    ),
    Pair(
        "adding a reference",
        "add-foreign-key",
        'op.add_column("users", sa.Column("team_id", sa.Integer(), sa.ForeignKey("teams.id")))',
        (
            'op.add_column("users", sa.Column("team_id", sa.BigInteger()))',
            OUTSIDE + 'op.create_index("i", "users", ["team_id"], postgresql_concurrently=True)',
            KEY[0].replace("user", "team").replace("orders", "users"),
            sql("ALTER TABLE users VALIDATE CONSTRAINT f"),
        ),
    ),
    Pair(
        "adding a foreign key",
        "add-foreign-key",
        'op.create_foreign_key("f", "orders", "users", ["user_id"], ["id"])',
        KEY,
    ),
    Pair(
        "adding a unique constraint",
        "add-unique",
        'op.create_unique_constraint("u", "users", ["email"])',
        UNIQUE,
    ),
    Pair(
        "adding an exclusion constraint",
        "add-exclusion",
        'op.create_exclude_constraint("e", "orders", ("room", "="), using="gist")',
        ('op.create_table("new", sa.Column("x", sa.Text()), ExcludeConstraint(("x", "=")))',),
    ),
    Pair(
        "adding a json column",
        "add-column-json",
        'op.add_column("users", sa.Column("j", sa.JSON()))',
        ('op.add_column("users", sa.Column("j", JSONB()))',),
    ),
    Pair(
        "setting NOT NULL on an existing column",
        "set-not-null",
        'op.alter_column("users", "email", nullable=False)',
        NOT_NULL,
    ),
    Pair(
        "changing a type and setting NOT NULL at once",
        "set-not-null",
        'op.alter_column("users", "name", type_=sa.Text(), nullable=False)',
        ('op.alter_column("users", "name", type_=sa.Text())', *NOT_NULL),
    ),
    Pair(
        "setting NOT NULL with a default value for the existing rows",
        "backfill",
        sql("UPDATE users SET email = '' WHERE email IS NULL"),
        NOT_NULL,
    ),
    Pair(
        "adding a column with a volatile default value, or one that can't be inspected",
        "add-column-volatile-default",
        'op.add_column("users", sa.Column("k", UUID(), server_default=sa.func.gen_random_uuid()))',
        (
            *COLUMN,
            'op.alter_column("users", "x", server_default=sa.text("gen_random_uuid()"))',
            'op.add_column("users", sa.Column("at", sa.Date(), server_default=sa.func.now()))',
        ),
    ),
    Pair(
        "a missing lock timeout",
        "lock-without-timeout",
        outside("ALTER TABLE users ADD COLUMN x text"),
        (outside("SET lock_timeout = '2s'", "ALTER TABLE users ADD COLUMN x text"), *COLUMN),
    ),
)
