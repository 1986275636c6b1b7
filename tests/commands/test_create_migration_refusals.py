"""What `db create-migration` refuses to write, and what it reports of the comparison."""

from __future__ import annotations

from tests.support.database import query
from tests.support.model_files import make, target, write_models
from tests.support.shop import Shop

TABLE = """
class Thing(Base):
    __tablename__ = "things"
    id = mapped_column(sa.Integer, primary_key=True)
    {columns}
"""
NAME = "name = mapped_column(sa.String(40))"


def files(shop: Shop) -> list[str]:
    """Return the names of the revision files."""
    return sorted(path.name for path in shop.versions.glob("*.py"))


async def test_a_dropped_column_is_refused_and_may_be_a_rename(shop: Shop) -> None:
    """Nothing is written before --allow-drops is given."""
    write_models(shop, TABLE.format(columns=NAME))
    await make(shop)
    write_models(shop, TABLE.format(columns=NAME.replace("name =", "title =")))
    before = files(shop)

    refused = await shop.manage("db create-migration -m rename")
    allowed = await shop.manage("db create-migration -m rename --allow-drops --dry-run")

    assert (1, 0) == (refused.exit_code, allowed.exit_code)
    assert "error[drops-refused]" in refused.stderr
    assert "would drop what no model declares: things.name\n" in refused.stderr
    assert "if you renamed things.name to things.title, " in refused.stderr
    assert before == files(shop)


async def test_a_table_of_nobody_is_refused_by_name(shop: Shop) -> None:
    """Somebody may have created it by hand."""
    await shop.manage("db migrate")
    await shop.query("CREATE TABLE somebodys (id INTEGER)")
    write_models(shop, TABLE.format(columns=NAME))

    refused = await shop.manage("db create-migration -m things")

    assert "would drop what no model declares: somebodys\n" in refused.stderr


async def test_a_revision_that_cannot_be_applied_is_not_written(postgres_shop: Shop) -> None:
    """PostgreSQL has no conversion between the types."""
    shop = postgres_shop
    write_models(shop, TABLE.format(columns="at = mapped_column(sa.Integer)"))
    await make(shop)
    write_models(shop, TABLE.format(columns="at = mapped_column(sa.DateTime)"))
    before = files(shop)

    refused = await shop.manage("db create-migration -m x")
    forced = await shop.manage("db create-migration -m x --no-verify")

    assert (1, 0) == (refused.exit_code, forced.exit_code)
    assert "error[unverified-revision]: the revision was not written: it can't be" in refused.stderr
    assert "warning: the revision was not tried on a scratch database" in forced.stderr
    assert len(before) + 1 == len(files(shop))


async def test_the_scratch_database_is_dropped(postgres_shop: Shop) -> None:
    """After a success and after a refusal."""
    write_models(postgres_shop, TABLE.format(columns="at = mapped_column(sa.Integer)"))
    await make(postgres_shop)
    write_models(postgres_shop, TABLE.format(columns="at = mapped_column(sa.DateTime)"))
    await postgres_shop.manage("db create-migration -m x")

    names = await postgres_shop.query("SELECT datname FROM pg_database")

    assert [] == [name for (name,) in names if name.startswith("oneoff_scratch_")]


async def test_without_the_right_to_create_databases_no_file_is_written(
    postgres_shop: Shop,
) -> None:
    """The error names --no-verify."""
    shop = postgres_shop
    await shop.manage("db migrate")
    role = shop.database().url.database + "_poor"
    await shop.query(f"CREATE ROLE {role} LOGIN PASSWORD 'poor'")
    name = shop.database().url.database
    await shop.query(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    write_models(shop, TABLE.format(columns=NAME))
    rest = shop.url.rpartition("@")[2]

    refused = await shop.manage(
        "db create-migration -m x", environ={"DATABASE_URL": f"postgres://{role}:poor@{rest}"}
    )

    await shop.query(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
    await shop.query(f"DROP ROLE {role}")
    assert name
    assert "error[no-scratch-database]" in refused.stderr, refused.stderr
    assert "add --no-verify" in refused.stderr
    assert [] == files(shop)


async def test_a_name_that_the_file_does_not_define_is_refused(shop: Shop) -> None:
    """A type of the project may be written without its module."""
    own = "lambda kind, item, _: 'Unknown()' if kind == 'type' else False"
    write_models(shop, TABLE.format(columns=NAME), f"render_item={own}")

    refused = await shop.manage("db create-migration -m x --no-verify")

    assert "error[unrenderable-models]" in refused.stderr
    assert "uses a name that it does not define: Unknown\n" in refused.stderr
    assert [] == files(shop)


async def test_a_value_is_added_to_an_enum_without_a_rebuild(postgres_shop: Shop) -> None:
    """At its place; the way back rebuilds the type."""
    enum = "mood = mapped_column(sa.Enum({}, name='mood'), server_default='calm')"
    write_models(postgres_shop, TABLE.format(columns=enum.format("'calm', 'wild'")))
    await make(postgres_shop)
    write_models(postgres_shop, TABLE.format(columns=enum.format("'calm', 'a:b', 'wild'")))

    checked = await postgres_shop.manage("db create-migration --check")
    shown = await postgres_shop.manage("db status")
    failed = await make(postgres_shop)
    (path,) = set(postgres_shop.versions.glob("*.py")) - {
        path for path in postgres_shop.versions.glob("*.py") if "ADD VALUE" not in path.read_text()
    }
    undone = await postgres_shop.manage(f"db rollback --confirm={target(postgres_shop)}")

    assert 3 == checked.exit_code
    assert "add value 'a:b' to enum mood" in checked.stdout
    assert "the models differ from the database in 1 place\n" in checked.stderr
    assert "drift: 1 difference from" in shown.stdout
    assert "" == failed
    assert "RENAME TO" not in path.read_text().partition("def downgrade")[0]
    assert 0 == undone.exit_code, undone.stderr
    values = query(postgres_shop.url, "SELECT enumlabel FROM pg_enum ORDER BY enumsortorder")
    assert [("calm",), ("wild",)] == values


async def test_a_schema_named_like_the_role_is_no_drift(
    postgres_shop: Shop,
) -> None:
    """Its tables are in the default schema then, and the version table in another one."""
    shop = postgres_shop
    role = "crm_" + shop.database().url.database
    await shop.query(f"CREATE SCHEMA {role}")
    table = TABLE.format(columns=f"boss = mapped_column(sa.ForeignKey('{role}.things.id'))")
    models = f"Base.metadata.schema = '{role}'\n" + table
    write_models(shop, models, "include_schemas=True")
    assert not (failed := await make(shop)), failed
    await shop.query(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'crm'")
    rest = shop.url.rpartition("@")[2]

    checked = await shop.manage(
        "db create-migration --check", environ={"DATABASE_URL": f"postgres://{role}:crm@{rest}"}
    )

    await shop.query(f"DROP ROLE {role}")
    assert 0 == checked.exit_code, checked.stdout


async def test_a_default_is_listed_as_sql(shop: Shop) -> None:
    """Not as an object of Python."""
    column = "at = mapped_column(sa.DateTime, server_default={})"
    write_models(shop, TABLE.format(columns=column.format("sa.func.now()")))
    await make(shop)
    write_models(shop, TABLE.format(columns=column.format("sa.func.current_date()")))

    checked = await shop.manage("db create-migration --check")

    assert "change default of things.at to " in checked.stdout
    assert "object at 0x" not in checked.stdout


async def test_no_drift_says_what_was_not_compared(shop: Shop) -> None:
    """A trigger, for example."""
    write_models(shop, TABLE.format(columns=NAME))
    await make(shop)

    shown = await shop.manage("db status")

    assert "no drift (not compared: rows, collations, triggers, views" in shown.stdout
