"""Revisions as tutorials and templates of the field teach them, not written for `db lint`.

Each stands for itself: the tables that it does not create exist and are large. The rules are those
that it rightly breaks, so any other finding is a false alarm.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.support.lint.pairs import sql


class Revision(NamedTuple):
    """A revision of somebody else.

    Attributes:
        source: The tutorial.
        code: Its `upgrade()`.
        rules: The rules that it breaks.
    """

    source: str
    code: str
    rules: tuple[str, ...] = ()


def table(name: str, *columns: str) -> str:
    """Return the code that creates a table."""
    return f'op.create_table("{name}", {", ".join(columns)})'


def column(name: str, type_: str, *options: str) -> str:
    """Return the code of a column."""
    return f'sa.Column("{name}", sa.{type_}{"".join(f", {one}" for one in options)})'


ID = column("id", "Integer", "primary_key=True")
NAME = column("name", "String(50)", "nullable=False")

ALEMBIC = (
    Revision("create a table", table("account", ID, NAME, column("about", "Unicode(200)"))),
    Revision("add a column", f'op.add_column("account", {column("last_at", "DateTime")})'),
    Revision(
        "insert rows into a new table",
        f"made = {table('account', ID, NAME)}\n"
        'op.bulk_insert(made, [{"id": 1, "name": "ada"}, {"id": 2, "name": "bob"}])',
    ),
    Revision(
        "a new table that refers to another, with an index",
        table("address", ID, column("account_id", "Integer", 'sa.ForeignKey("account.id")'))
        + '\nop.create_index("ix_address_account_id", "address", ["account_id"])',
    ),
    Revision(
        "a batch operation",
        'with op.batch_alter_table("account") as batch:\n'
        f"    batch.add_column({column('foo', 'Integer')})\n"
        '    batch.drop_column("bar")',
        ("drop-column",),
    ),
    Revision(
        "a comment and a default",
        'op.create_table_comment("account", "people")\n'
        'op.alter_column("account", "about", server_default="")',
    ),
    Revision(
        "a database function and its trigger",
        sql(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "NEW.at = now(); RETURN NEW; END; $$",
            "CREATE TRIGGER touched BEFORE UPDATE ON account EXECUTE FUNCTION touch()",
        ),
    ),
    Revision(
        "replaceable objects",
        sql("DROP VIEW customers", "CREATE VIEW customers AS SELECT id FROM account"),
    ),
    Revision(
        "change a type",
        'op.alter_column("account", "name", type_=sa.String(30), existing_type=sa.String(50))',
        ("change-column-type",),
    ),
    Revision(
        "a value of an enum",
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"ALTER TYPE mood ADD VALUE IF NOT EXISTS 'soso'\")",
    ),
)
FLASK = (
    Revision(
        "users",
        table("user", ID, column("username", "String(64)"), column("email", "String(120)"))
        + '\nop.create_index("ix_user_email", "user", ["email"], unique=True)'
        + '\nop.create_index("ix_user_username", "user", ["username"], unique=True)',
    ),
    Revision(
        "posts",
        table("post", ID, column("user_id", "Integer", 'sa.ForeignKey("user.id")'))
        + '\nop.create_index("ix_post_at", "post", ["user_id"])',
    ),
    Revision(
        "new fields in the user model",
        f'op.add_column("user", {column("about_me", "String(140)")})\n'
        f'op.add_column("user", {column("last_seen", "DateTime")})',
    ),
    Revision(
        "followers",
        table(
            "followers",
            column("follower_id", "Integer", 'sa.ForeignKey("user.id")'),
            column("followed_id", "Integer", 'sa.ForeignKey("user.id")'),
            'sa.PrimaryKeyConstraint("follower_id", "followed_id")',
        ),
    ),
    Revision("a language", f'op.add_column("post", {column("language", "String(5)")})'),
    Revision(
        "tokens",
        f'op.add_column("user", {column("token", "String(32)")})\n'
        f'op.add_column("user", {column("token_expiration", "DateTime")})\n'
        'op.create_index("ix_user_token", "user", ["token"], unique=True)',
        ("create-index",),
    ),
    Revision(
        "a required column in the usual three steps",
        f'op.add_column("user", {column("role", "String(20)")})\n'
        + sql("UPDATE \"user\" SET role = 'user'")
        + '\nop.alter_column("user", "role", nullable=False)',
        ("backfill", "set-not-null"),
    ),
)
FASTAPI = (
    Revision(
        "users and items",
        table("user", ID, NAME, 'sa.UniqueConstraint("name")')
        + "\n"
        + table("item", ID, column("owner_id", "Integer", 'sa.ForeignKey("user.id")')),
    ),
    Revision(
        "longer texts",
        'op.alter_column("users", "name", type_=sa.String(255), existing_type=sa.String(50))',
    ),
    Revision(
        "delete items with their owner",
        'op.drop_constraint("item_owner_id_fkey", "item", type_="foreignkey")\n'
        'op.create_foreign_key(None, "item", "user", ["owner_id"], ["id"], ondelete="CASCADE")',
        ("add-foreign-key",),
    ),
    Revision(
        "UUIDs instead of integers",
        sql('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"')
        + '\nop.add_column("user", sa.Column("new_id", UUID(), '
        'server_default=sa.text("uuid_generate_v4()")))\n'
        + sql('UPDATE "user" SET new_id = uuid_generate_v4()')
        + '\nop.alter_column("user", "new_id", nullable=False)',
        ("add-column-volatile-default", "backfill", "set-not-null"),
    ),
    Revision(
        "created at",
        'op.add_column("user", sa.Column("created_at", sa.DateTime(timezone=True), '
        "server_default=sa.func.now(), nullable=False))",
    ),
    Revision(
        "an optional column with an index",
        f'op.add_column("hero", {column("age", "Integer")})\n'
        'op.create_index(op.f("ix_hero_age"), "hero", ["age"])',
        ("create-index",),
    ),
    Revision(
        "a flag",
        f'op.add_column("user", {column("active", "Boolean", "server_default=sa.true()")})',
    ),
    Revision("a role that becomes optional", 'op.alter_column("user", "role", nullable=True)'),
    Revision("remove a constraint", 'op.drop_constraint("uq_user_name", "user")'),
    Revision("rename a table", 'op.rename_table("item", "product")', ("rename-table",)),
)
TUTORIALS = (*ALEMBIC, *FLASK, *FASTAPI)
