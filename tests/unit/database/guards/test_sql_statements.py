"""A text is divided into statements where the server's scanner divides it."""

from __future__ import annotations

import pytest

from oneoff.database.guards.sql_statements import split_statements


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES ('a;b', E'\\';', $x$ ; $x$)",
        'UPDATE "a;b" SET c = 1',
        "/* a; /* b; */ c; */ SELECT 1 -- ;",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE a WHEN 1 THEN 2 END; END",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v)",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE u SET a = 1; DELETE FROM v; END",
        "SELECT CASE WHEN a THEN 1 END",
        "END",
    ],
)
def test_a_semicolon_within_a_statement_does_not_end_it(statement: str) -> None:
    """In texts, names, comments, parentheses, and the bodies of routines and triggers."""
    assert [statement, "DROP TABLE t"] == split_statements(f"{statement}\n; DROP TABLE t;\n-- end")
