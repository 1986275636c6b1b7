"""`data import --on-conflict update`: only a row with exactly the same values is left alone."""

from __future__ import annotations

from pathlib import Path

from oneoff.testing import Manage
from tests.support.database import query

TYPES = {
    "postgres": [
        ("numeric", "1.0", "1.00"),
        ("interval", "1 day", "24:00:00"),
        ("double precision", "0", "-0"),
        ("json", '{"a":1}', '{"a": 1}'),
        ("json[]", "{1}", "{2}"),
        ("point", "(1,2)", "(1,3)"),
        ("char(3)", "a", "b"),
        ("varchar(9) COLLATE nocase", "ada", "Ada"),
    ],
    "sqlite": [
        ("varchar(9) COLLATE NOCASE", "ada", "Ada"),
        ("varchar(9) COLLATE RTRIM", "ada", "ada "),
        ("numeric", "1.5", "1.25"),
    ],
}
_NOCASE = (
    "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)


async def test_values_that_only_the_type_calls_equal_are_updated(
    manage: Manage, tmp_path: Path
) -> None:
    """And the same values once more are not."""
    url = manage.environ["DATABASE_URL"]
    results = {}
    for number, (kind, before, after) in enumerate(TYPES[url.partition(":")[0]]):
        name, file = f"cells{number}", tmp_path / f"cells{number}.csv"
        if "nocase" in kind:
            query(url, _NOCASE)
        query(url, f"CREATE TABLE {name} (id int PRIMARY KEY, cell {kind})")
        rows = []
        for value in (before, after, after):
            quoted = value.replace('"', '""')
            file.write_text(f'id,cell\n1,"{quoted}"\n')
            done = await manage(f"data import {name} {file} --on-conflict update --confirm")
            rows.append(done.rows if done.exit_code == 0 else done.stderr)
        results[kind] = rows

    assert {kind: [1, 1, 0] for kind in results} == results
