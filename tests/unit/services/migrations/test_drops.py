"""What the SQL of a revision drops is shown, or shown as unknown."""

from __future__ import annotations

import pytest

from oneoff.services.migrations.drops import describe_drops


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("drop table crm.people", "drop table crm.people"),
        ("DROP SCHEMA crm\n    CASCADE;", "DROP SCHEMA crm CASCADE"),
        ("ALTER TABLE t\n  ADD a int,\n  DROP COLUMN b;", "ALTER TABLE t ADD a int, DROP COLUMN b"),
        ("-- why\nDROP VIEW v; DELETE FROM t; DROP TABLE t", "DROP VIEW v; DROP TABLE t"),
        ("/* DROP */ DELETE FROM t WHERE a = 'drop'; UPDATE t SET \"drop\" = 1", "nothing"),
        ("BEGIN;\n\n-- Running downgrade a2 -> a1\n\nCOMMIT;", "nothing"),
        ("DO $$ BEGIN DROP TABLE t; END $$;", "unknown: DO $$ BEGIN DROP TABLE t; END $$"),
        ("SELECT tidy_up(); CALL tidy()", "unknown: SELECT tidy_up(); unknown: CALL tidy()"),
        ("CREATE TABLE t (a int)", "nothing"),
    ],
)
def test_every_statement_that_drops_or_may_drop_is_shown(sql: str, shown: str) -> None:
    """In any case of letters, over several lines, and not in comments or texts."""
    assert shown == describe_drops(sql)
