"""A pair for each check of squawk that is covered, and for the rule that only oneoff has."""

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

SQUAWK = (
    Pair(
        "adding-field-with-default",
        "add-column-volatile-default",
        sql("ALTER TABLE users ADD COLUMN k uuid NOT NULL DEFAULT my_id()"),
        (sql("ALTER TABLE users ADD COLUMN n int NOT NULL DEFAULT 1"),),
    ),
    Pair(
        "adding-foreign-key-constraint",
        "add-foreign-key",
        sql("ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id)"),
        KEY,
    ),
    Pair(
        "adding-not-nullable-field",
        "set-not-null",
        sql("ALTER TABLE users ALTER COLUMN email SET NOT NULL"),
        NOT_NULL,
    ),
    Pair(
        "adding-required-field",
        "add-column-not-null",
        'op.add_column("users", sa.Column("x", sa.Text(), nullable=False))',
        ('op.add_column("users", sa.Column("x", sa.Text(), server_default="", nullable=False))',),
    ),
    Pair(
        "adding-serial-primary-key-field",
        "add-primary-key",
        'op.create_primary_key("p", "logs", ["id"])',
        (
            OUTSIDE
            + 'op.create_index("p", "logs", ["id"], unique=True, postgresql_concurrently=True)',
            sql("ALTER TABLE logs ADD CONSTRAINT p PRIMARY KEY USING INDEX p"),
        ),
    ),
    Pair(
        "ban-alter-domain-with-add-constraint",
        "add-check",
        sql("ALTER DOMAIN zip ADD CONSTRAINT c CHECK (VALUE <> '')"),
        (sql("ALTER DOMAIN zip ADD CONSTRAINT c CHECK (VALUE <> '') NOT VALID"),),
    ),
    Pair(
        "ban-alter-identity",
        "squawk/ban-alter-identity",
        sql("ALTER TABLE orders ALTER COLUMN id SET GENERATED ALWAYS"),
        COLUMN,
    ),
    Pair(
        "ban-concurrent-index-creation-in-transaction",
        "concurrently-in-transaction",
        'op.create_index("i", "users", ["email"], postgresql_concurrently=True)',
        INDEX,
    ),
    Pair(
        "ban-create-domain-with-constraint",
        "squawk/ban-create-domain-with-constraint",
        sql("CREATE DOMAIN code AS text CHECK (VALUE <> '')"),
        (sql("CREATE DOMAIN code AS text"),),
    ),
    Pair("ban-drop-column", "drop-column", sql("ALTER TABLE users DROP name"), COLUMN),
    Pair("ban-drop-database", "drop-object", outside("DROP DATABASE shop"), (sql("SELECT 1"),)),
    Pair(
        "ban-drop-default",
        "squawk/ban-drop-default",
        'op.alter_column("users", "role", server_default=None)',
        ('op.alter_column("users", "role", server_default="user")',),
    ),
    *(
        Pair(
            f"ban-drop-{kind}",
            "drop-object",
            sql(f"DROP {kind.upper()} {name}"),
            (sql(f"DROP {kind.upper()} {name}", f"CREATE {kind.upper()} {name}{new}"),),
        )
        for kind, name, new in (
            ("domain", "zip", " AS text"),
            ("extension", "citext", ""),
            ("function", "total()", " RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            ("schema", "crm", ""),
            ("sequence", "numbers", ""),
            ("type", "mood", " AS ENUM ('a')"),
            ("view", "active_users", " AS SELECT * FROM users"),
        )
    ),
    Pair(
        "ban-drop-generated-expression",
        "squawk/ban-drop-generated-expression",
        sql("ALTER TABLE orders ALTER COLUMN total DROP EXPRESSION"),
        COLUMN,
    ),
    Pair("ban-drop-table", "drop-table", 'op.drop_table("logs")', NEW_TABLE),
    Pair(
        "ban-duplicate-column-assignments",
        "squawk/ban-duplicate-column-assignments",
        sql("UPDATE users SET age = 1, age = 2 WHERE id = 7"),
        FILTERED,
    ),
    Pair(
        "ban-set-schema",
        "rename-table",
        sql("ALTER TABLE users SET SCHEMA crm"),
        (sql("ALTER TABLE users SET SCHEMA crm", "CREATE VIEW users AS SELECT * FROM crm.users"),),
    ),
    Pair(
        "ban-truncate-cascade",
        "truncate",
        sql("TRUNCATE users CASCADE"),
        (sql("DELETE FROM users WHERE id = 7"),),
    ),
    Pair(
        "changing-column-type",
        "change-column-type",
        sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(20)"),
        (sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(200)"),),
    ),
    Pair(
        "constraint-missing-not-valid",
        "add-check",
        sql("ALTER TABLE users ADD CHECK (age > 0)"),
        CHECK,
    ),
    Pair(
        "disallowed-unique-constraint",
        "add-unique",
        sql("ALTER TABLE users ADD COLUMN code text UNIQUE"),
        UNIQUE,
    ),
    Pair(
        "identifier-too-long",
        "squawk/identifier-too-long",
        sql(f"ALTER TABLE users ADD COLUMN {'x' * 70} text"),
        COLUMN,
    ),
    Pair("prefer-repack", "rewrite-table", outside("VACUUM FULL logs"), (outside("VACUUM logs"),)),
    Pair("renaming-column", "rename-column", sql("ALTER TABLE users RENAME name TO x"), COPY),
    Pair(
        "renaming-object",
        "rename-object",
        sql("ALTER VIEW active_users RENAME TO current_users"),
        (sql("CREATE VIEW current_users AS SELECT * FROM active_users"),),
    ),
    Pair("renaming-table", "rename-table", sql("ALTER TABLE users RENAME TO people"), RENAMED),
    Pair(
        "require-concurrent-index-creation",
        "create-index",
        sql("CREATE INDEX ON users (lower(email))"),
        INDEX,
    ),
    Pair(
        "require-concurrent-index-deletion",
        "drop-index",
        sql("DROP INDEX i"),
        (outside("DROP INDEX CONCURRENTLY i"),),
    ),
    Pair(
        "require-concurrent-partition-detach",
        "detach-partition",
        sql("ALTER TABLE logs DETACH PARTITION logs_2025"),
        (outside("ALTER TABLE logs DETACH PARTITION logs_2025 CONCURRENTLY"),),
    ),
    Pair(
        "require-concurrent-reindex",
        "reindex",
        outside("REINDEX TABLE users"),
        (outside("REINDEX TABLE CONCURRENTLY users", "REINDEX (CONCURRENTLY) INDEX i"),),
    ),
    Pair(
        "require-lock-timeout",
        "lock-without-timeout",
        sql("SET lock_timeout = 0", "ALTER TABLE users ADD COLUMN x text"),
        (sql("SET LOCAL lock_timeout = '1s'", "ALTER TABLE users ADD COLUMN x text"),),
    ),
    Pair(
        "syntax-error",
        "squawk/syntax-error",
        sql("ALTER TABLE users ADD COLUMN x text,"),
        COLUMN,
    ),
    Pair("transaction-nesting", "squawk/transaction-nesting", sql("BEGIN", "SELECT 1"), COLUMN),
)

OWN = (
    Pair(
        "several-locks",
        "several-locks",
        COLUMN[0] + '\nop.add_column("orders", sa.Column("x", sa.Text()))',
        (*COLUMN, 'op.add_column("orders", sa.Column("x", sa.Text()))'),
    ),
)
