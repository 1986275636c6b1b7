"""What makes an operation safe or unsafe: other operations, facts, and how it is written."""

from __future__ import annotations

import pytest

from oneoff.services.migrations.lint.facts import Facts, TableFacts
from tests.support.lint.pairs import outside, sql
from tests.support.lint.render import render, rules_broken

LARGE = TableFacts(1_000_000, 2**30)
INDEX = "CREATE INDEX i ON users (email)"


def broken(*statements: str, facts: Facts | None = None, strict: bool = True) -> list[str]:
    """Return the rules that one revision with these statements breaks."""
    known = facts or Facts(150_004, {"users": LARGE})
    return rules_broken([render(sql(*statements))], known, strict=strict)


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (TableFacts(0, 0, empty=True), []),
        (TableFacts(100, 2**20), []),
        (TableFacts(100, 2**20 + 1), ["create-index"]),
        (TableFacts(100, None), ["create-index"]),  # it has partitions
    ],
)
def test_the_size_of_the_table_decides(facts: TableFacts, found: list[str]) -> None:
    """Unless the check is strict."""
    known = Facts(150_004, {"users": facts})

    assert found == broken(INDEX, facts=known, strict=False)
    assert ["create-index"] == broken(INDEX, facts=known)


def test_a_table_that_is_not_known_is_large() -> None:
    """It may be in another schema."""
    assert ["create-index"] == broken(INDEX, facts=Facts(150_004), strict=False)


@pytest.mark.parametrize("name", ["users", "public.users", '"users"', "USERS"])
def test_a_table_is_the_same_however_it_is_written(name: str) -> None:
    """As PostgreSQL reads names."""
    assert [] == broken(f"CREATE TABLE {name} (email text)", INDEX)


@pytest.mark.parametrize("name", ["crm.users", '"Users"'])
def test_another_table_is_not_taken_for_it(name: str) -> None:
    """One of another schema, or with another case in quotes."""
    assert ["create-index"] == broken(f"CREATE TABLE {name} (email text)", INDEX)


def test_a_table_of_another_pending_revision_is_in_use_for_a_strict_check() -> None:
    """The other one may be applied long before."""
    texts = [render(sql("CREATE TABLE users (email text)")), render(sql(INDEX))]

    assert [] == rules_broken(texts, Facts(150_004), strict=False)
    assert ["create-index"] == rules_broken(texts, Facts(150_004))


@pytest.mark.parametrize(
    ("default", "found"),
    [
        ("7", []),
        ("'a (b)'", []),
        ("now()", []),
        ("'x'::varchar(10)", []),
        ("ARRAY[]::text[]", []),
        ("random()", ["add-column-volatile-default"]),
        ("(extract(epoch FROM clock_timestamp()))", ["add-column-volatile-default"]),
        ("my.code()", ["add-column-volatile-default"]),
        ("nextval('s')", ["add-column-volatile-default"]),
    ],
)
def test_a_default_is_unsafe_if_it_may_differ_by_row(default: str, found: list[str]) -> None:
    """A function that is not known may differ."""
    assert found == broken(f"ALTER TABLE users ADD COLUMN x text NOT NULL DEFAULT {default}")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("character varying(50)", "VARCHAR(60)", []),
        ("character varying(50)", "VARCHAR(40)", ["change-column-type"]),
        ("character varying(50)", "text", []),
        ("character varying(50)", "VARCHAR", []),
        ("text", "varchar", []),
        ("text", "varchar(50)", ["change-column-type"]),
        ("numeric(10,2)", "NUMERIC(12, 2)", []),
        ("numeric(10,2)", "NUMERIC(12, 3)", ["change-column-type"]),
        ("numeric(10,2)", "numeric", []),
        ("integer", "BIGINT", ["change-column-type"]),
        ("timestamp without time zone", "TIMESTAMP WITH TIME ZONE", ["change-column-type"]),
        ("character varying(50)", "text USING upper(name)", ["change-column-type"]),
        ("", "text", ["change-column-type"]),
    ],
)
def test_a_type_is_safe_if_every_value_fits_unchanged(
    before: str, after: str, found: list[str]
) -> None:
    """A type that is not known is not safe."""
    facts = Facts(150_004, {"users": LARGE._replace(types={"name": before} if before else {})})

    assert found == broken(f"ALTER TABLE users ALTER COLUMN name TYPE {after}", facts=facts)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE users SET a = 1", ["backfill"]),
        ("UPDATE users SET a = 1 WHERE a IS NULL", ["backfill"]),
        ("DELETE FROM users", ["backfill"]),
        ("UPDATE users SET a = (SELECT 1 FROM t WHERE b = 2)", ["backfill"]),
        ("UPDATE users SET a = 1 WHERE a IS NULL AND id = 7", []),
        ("DELETE FROM users WHERE id IN (1, 2)", []),
        ("-- UPDATE users SET a = 1\nSELECT 1", []),
        ("INSERT INTO users (a) VALUES ('UPDATE users SET a = 1; DELETE FROM users')", []),
    ],
)
def test_a_change_of_all_rows_is_a_backfill(statement: str, found: list[str]) -> None:
    """Texts and comments are no statements."""
    assert found == broken(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users RENAME CONSTRAINT a TO b",
        "ALTER INDEX i RENAME TO j",
        "ALTER TABLE users DROP CONSTRAINT c",
        "ALTER TABLE users ALTER COLUMN a SET DEFAULT 1",
        "ALTER TABLE users ALTER COLUMN a SET STATISTICS 500",
        "COMMENT ON TABLE users IS 'people'",
        "CREATE TABLE new (id int PRIMARY KEY, user_id int UNIQUE REFERENCES users (id))",
        "CREATE TEMPORARY TABLE t (id int)",
        "ANALYZE users",
        "GRANT SELECT ON users TO reader",
        "ALTER TABLE users SET (fillfactor = 70)",
    ],
)
def test_an_operation_with_a_short_lock_is_safe(statement: str) -> None:
    """As long as it waits for its lock no longer than `migrate` lets it."""
    assert [] == broken(statement)


def test_the_lock_timeout_of_a_transaction_does_not_hold_after_it() -> None:
    """SET LOCAL has no effect outside of a transaction."""
    change = "ALTER TABLE users ADD COLUMN x text"
    local, session = (
        render(outside(f"SET {scope} lock_timeout = '2s'", change)) for scope in ("LOCAL", "")
    )

    assert ["lock-without-timeout"] == rules_broken([local])
    assert [] == rules_broken([session])


@pytest.mark.parametrize("limit", ["= '0s'", "= 0", "TO '0ms'", "TO DEFAULT", "reset"])
def test_a_lock_timeout_of_zero_is_none(limit: str) -> None:
    """In each unit, and by the server's default."""
    statement = "RESET lock_timeout" if limit == "reset" else f"SET lock_timeout {limit}"

    assert ["lock-without-timeout"] == broken(statement)


NOT_NULL = "ALTER TABLE users ALTER COLUMN name SET NOT NULL"
DROP_CHECK = "ALTER TABLE users DROP CONSTRAINT filled"


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ([NOT_NULL, DROP_CHECK], []),
        ([DROP_CHECK, NOT_NULL], ["set-not-null"]),
        ([f"{NOT_NULL}, DROP CONSTRAINT IF EXISTS filled"], ["set-not-null"]),
        (["ALTER TABLE users DROP CONSTRAINT other", NOT_NULL], []),
    ],
)
def test_a_check_that_is_dropped_proves_nothing(statements: list[str], found: list[str]) -> None:
    """PostgreSQL drops it before the other actions of one statement."""
    table = LARGE._replace(checks={"filled": "CHECK ((name IS NOT NULL))"})

    assert found == broken(*statements, facts=Facts(150_004, {"users": table}))


def test_an_attribute_of_a_type_is_used_like_a_column() -> None:
    """Dropped, changed and renamed ones; a new one is not used yet."""
    found = broken(
        "ALTER TYPE address DROP ATTRIBUTE IF EXISTS zip CASCADE, ADD ATTRIBUTE city text",
        "ALTER TYPE address ALTER ATTRIBUTE street TYPE varchar",
        "ALTER TYPE address RENAME ATTRIBUTE street TO road",
        "ALTER TYPE mood ADD VALUE 'glad'",
    )

    assert ["drop-object", "rename-object", "rename-object"] == found


def test_each_action_of_a_statement_is_checked() -> None:
    """They are separated by commas, which also stand in parentheses."""
    found = broken(
        "ALTER TABLE users ADD COLUMN a numeric(10, 2), DROP COLUMN b, ADD UNIQUE (c, d), "
        "ALTER COLUMN e SET NOT NULL"
    )

    assert ["drop-column", "add-unique", "set-not-null"] == found
