"""`data import`: which rows of a file reach the table, and what becomes of those that are there."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import text

from oneoff.testing import Manage
from tests.support.database import query
from tests.support.fixture_types import MakeUser, Sessions
from tests.support.imports import HEADER, account, bytes_of, load, names, write_csv

AS_JSON = '{"id":%d,"name":"%s","description":"","active":true,"created_at":"2026-01-31T09:30:00Z"}'


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Write a file of two accounts."""
    return write_csv(tmp_path / "two.csv", account(1, "ci"), account(2, "backup"))


async def test_rows_of_a_file_are_in_the_table(manage: Manage, two: Path) -> None:
    """With their values; the message and the record say how many."""
    done = await load(manage, two)

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "backup"] == names(manage)
    assert "imported 2 rows into service_accounts" in done.stdout
    assert done.outcome
    assert (2, 0, 0) == done.outcome.tables["service_accounts"]


async def test_a_dry_run_counts_the_same_and_imports_nothing(manage: Manage, two: Path) -> None:
    """By table too."""
    preview = await manage(f"data import service_accounts {two} --dry-run --json")
    left = names(manage)
    real = await manage(f"data import service_accounts {two} --confirm --json")

    assert [] == left
    assert preview.json["tables"] == real.json["tables"]
    assert preview.json["data"] == real.json["data"]


async def test_a_row_that_is_there_is_an_error(manage: Manage, two: Path) -> None:
    """Nothing is imported, not the new rows either."""
    await load(manage, two)
    more = write_csv(two.parent / "more.csv", account(3, "new"), account(2, "other"))

    done = await load(manage, more)

    assert 65 == done.exit_code
    assert f"error[bad-rows]: {more}, line 3, column id: '2' already exists" in done.stderr
    assert ["ci", "backup"] == names(manage)


async def test_rows_that_are_there_can_be_skipped(manage: Manage, two: Path) -> None:
    """A row that stands in the file twice is imported once; the second run has nothing to do."""
    await load(manage, two)
    lines = (account(2, "other"), account(3, "new"), account(3, "again"))
    more = write_csv(two.parent / "more.csv", *lines)

    done = await load(manage, more, "--on-conflict", "skip")
    again = await load(manage, more, "--on-conflict", "skip")

    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "backup", "new"] == names(manage)
    assert again.outcome
    assert "unchanged" == again.outcome.status.value


async def test_rows_that_are_there_can_be_updated(manage: Manage, two: Path) -> None:
    """Those that are the same are not written again."""
    await load(manage, two)
    lines = (account(1, "ci"), account(2, "other"), account(3, "new"))
    more = write_csv(two.parent / "more.csv", *lines)

    done = await load(manage, more, "--on-conflict", "update")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert done.outcome
    assert (1, 1, 0) == done.outcome.tables["service_accounts"]
    assert ["ci", "other", "new"] == names(manage)


async def test_another_key_finds_rows_too(manage: Manage, two: Path) -> None:
    """Only one that is unique."""
    await load(manage, two)
    more = write_csv(two.parent / "more.csv", "ci,builds", header="name,description")

    done = await load(manage, more, "--on-conflict", "update", "--key", "name")
    wrong = await load(manage, more, "--on-conflict", "update", "--key", "description")

    url = manage.environ["DATABASE_URL"]
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert [("builds",)] == query(url, "SELECT description FROM service_accounts WHERE id = 1")
    assert 2 == wrong.exit_code
    assert "service_accounts has no unique index on description" in wrong.stderr


async def test_an_update_of_one_row_by_two_lines_is_an_error(manage: Manage, two: Path) -> None:
    """Nobody knows which of them counts."""
    path = write_csv(two.parent / "twice.csv", account(1, "ci"), account(1, "backup"))

    done = await load(manage, path, "--on-conflict", "update")

    assert 65 == done.exit_code
    assert "line 3, column id: '1' is in the file more than once" in done.stderr
    assert [] == names(manage)


async def test_columns_that_are_not_in_the_file_have_their_defaults(
    manage: Manage, tmp_path: Path
) -> None:
    """The number of the next row too."""
    path = write_csv(tmp_path / "names.csv", "ci", "backup", header="name")

    done = await load(manage, path)

    assert 0 == done.exit_code, done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT id, name, active FROM service_accounts")
    assert [(1, "ci", True), (2, "backup", True)] == sorted(found)


async def test_columns_can_be_left_out(manage: Manage, tmp_path: Path) -> None:
    """Those that the table doesn't know as well."""
    path = write_csv(tmp_path / "more.csv", "ci,secret,yes", header="name,description,shoe_size")

    done = await load(manage, path, "--columns", "name")

    url = manage.environ["DATABASE_URL"]
    assert 0 == done.exit_code, done.stderr
    assert [("ci", "")] == query(url, "SELECT name, description FROM service_accounts")


async def test_the_next_row_gets_a_number_of_its_own(manage: Manage, two: Path) -> None:
    """The sequence is behind those that were imported."""
    await load(manage, two)

    done = await manage("service-account create next")

    assert 0 == done.exit_code, done.stderr
    assert ["ci", "backup", "next"] == names(manage)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
async def test_standard_input_is_a_file_too(manage: Manage, two: Path, kind: str) -> None:
    """It needs a format."""
    lines = [AS_JSON % (1, "ci"), AS_JSON % (2, "backup")]
    texts = {
        "csv": bytes_of(two).decode(),
        "jsonl": "\n".join(lines),
        "json": f" [ {', '.join(lines)}\n]",
    }

    unsaid = await load(manage, "-", stdin=texts[kind])
    done = await load(manage, "-", "--format", kind, stdin=texts[kind])

    assert 2 == unsaid.exit_code
    assert "the format of standard input is unknown" in unsaid.stderr
    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "backup"] == names(manage)


async def test_compressed_files_are_known_by_their_bytes(manage: Manage, two: Path) -> None:
    """Whatever they are called; a mark of the byte order and Windows' line ends are no harm."""
    data = b"\xef\xbb\xbf" + bytes_of(two).replace(b"\n", b"\r\n")
    packed, zipped = two.parent / "two.csv.gz", two.parent / "zipped.csv"
    packed.write_bytes(zstandard.compress(data))
    zipped.write_bytes(gzip.compress(data[:60]) + gzip.compress(data[60:]))

    first = await load(manage, packed)
    again = await load(manage, zipped, "--on-conflict", "skip")

    assert (0, 2) == (first.exit_code, first.rows), first.stderr
    assert 0 == again.exit_code, again.stderr
    assert ["ci", "backup"] == names(manage)


async def test_masks_are_not_imported(manage: Manage, make_user: MakeUser, tmp_path: Path) -> None:
    """They would overwrite the personal data they stand for; the other columns can be imported."""
    await make_user("ada")
    path = tmp_path / "masked.csv"
    await manage(f"data export users -o {path}")

    line = f"data import users {path} --on-conflict update --confirm"
    refused = await manage(line)
    done = await manage([*line.split(), "--columns", "id,role,active"])

    assert 65 == refused.exit_code
    assert "was exported with personal data masked: email, password_hash" in refused.stderr
    # A new user needs an address, so the columns that stay are not enough for an INSERT.
    assert 65 == done.exit_code
    assert "column 'email' is missing, but the table requires it" in done.stderr
    assert "or add to --columns the columns that the table requires" in done.stderr
    assert "NAME,NAME" not in done.stderr


async def test_columns_that_the_table_needs_are_enough_for_an_update(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """The rest of the file is left out, also where it differs."""
    await make_user("ada", role="admin")
    path = tmp_path / "users.csv"
    await manage(f"data export users -o {path} --include-pii --reason test")
    path.write_text(path.read_text().replace(",admin,t,", ",user,f,"), encoding="utf-8")

    names = "id,username,email,password_hash,role"
    line = f"data import users {path} --on-conflict update --columns {names} --confirm"
    done = await manage(line)

    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    url = manage.environ["DATABASE_URL"]
    assert [("user", True)] == query(url, "SELECT role, active = true FROM users")


async def test_personal_data_is_not_in_an_error(manage: Manage, tmp_path: Path) -> None:
    """Neither where a value is wrong nor where it is there already."""
    header = "username,email,role,password_hash"
    twice = ("ada,secret@example.com,user,x", "grace,secret@example.com,user,x")
    path = write_csv(tmp_path / "users.csv", *twice, header=header)
    long = write_csv(tmp_path / "long.csv", f"ada,{'s' * 300}@x.com,user,x", header=header)

    done = await manage(f"data import users {path} --confirm")
    too_long = await manage(f"data import users {long} --confirm")

    assert "line 3, column email: the value already exists" in done.stderr
    assert "line 2, column email: the value is too long for" in too_long.stderr
    shown = done.stdout + done.stderr + too_long.stdout + too_long.stderr
    assert ("secret" in shown, "sss" in shown) == (False, False)


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
async def test_no_rows_are_nothing_to_do(manage: Manage, tmp_path: Path, kind: str) -> None:
    """An export of an empty table is a file like any other."""
    path = tmp_path / f"none.{kind}"
    await manage(f"data export service_accounts -o {path}")

    done = await load(manage, path)

    assert (0, 0) == (done.exit_code, done.rows), done.stderr
    assert not done.result.did_change
    assert "nothing to do in service_accounts" in done.stdout


@pytest.mark.parametrize("words", [(), ("--resume",)])
async def test_a_file_of_no_bytes_is_one_of_no_lines(
    manage: Manage, tmp_path: Path, words: Sequence[str]
) -> None:
    """Nothing to do, whole or in batches; but a table that is not there is no success."""
    path = tmp_path / "none.jsonl"
    path.touch()

    done = await load(manage, path, *words)
    mistyped = await manage(["data", "import", "service_acounts", str(path), "--confirm", *words])

    assert (0, False) == (done.exit_code, done.result.did_change), done.stderr
    assert "nothing to do in service_accounts" in done.stdout
    assert 1 == mistyped.exit_code
    assert "service_acounts" in mistyped.stderr


async def test_sql_is_not_imported(manage: Manage, tmp_path: Path) -> None:
    """It is a program; the message says what runs it."""
    path = tmp_path / "dump.sql"
    path.write_text("DROP TABLE users;", encoding="utf-8")

    done = await load(manage, path)

    assert 2 == done.exit_code
    assert "SQL can't be imported, because it may contain any statement" in done.stderr


async def test_a_table_of_many_rows_is_imported(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """In several blocks, with quotes and line ends at their borders."""
    path = tmp_path / "many.csv"
    lines = [f'{i},"row, {i}\n""of many"""' if i % 3 else f"{i},plain" for i in range(60_000)]
    write_csv(path, *lines, header="id,what")

    async with sessions() as session:
        await session.execute(text("CREATE TABLE many (id int PRIMARY KEY, what varchar(30))"))
        await session.commit()

    done = await manage(f"data import many {path} --confirm")
    url = manage.environ["DATABASE_URL"]

    assert (0, 60_000) == (done.exit_code, done.rows), done.stderr
    quoted = "SELECT count(*) FROM many WHERE what = 'row, ' || id || '\n\"of many\"'"
    assert [(40_000,)] == query(url, quoted)


@pytest.mark.parametrize("words", ["--key name", "--columns nmae", "--on-conflict skip"])
async def test_wrong_options_are_usage_errors(manage: Manage, tmp_path: Path, words: str) -> None:
    """Before anything is read of the rows."""
    path = write_csv(tmp_path / "names.csv", "ci", header="name")

    done = await load(manage, path, *words.split())

    assert 2 == done.exit_code, done.stderr
    assert [] == names(manage)


TWO_WAYS = (
    HEADER.encode() + b"\r\n",
    b'1,ci,"a\r\nb\nc",t,2026-01-01\n',
    b'2,backup,"",t,2026-01-01\r\n',
    b'3,z,"",t,2026-01-01\n',
)


@pytest.mark.parametrize("words", [(), ("--resume",), ("--rejects", "bad.csv")])
async def test_lines_may_end_in_two_ways(
    manage: Manage, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """In one file; what ends a line within quotes is kept as it is."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"".join(TWO_WAYS))

    done = await load(manage, path, *[str(tmp_path / w) if "." in w else w for w in words])

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    url = manage.environ["DATABASE_URL"]
    found = query(url, "SELECT name, description FROM service_accounts ORDER BY id")
    assert [("ci", "a\r\nb\nc"), ("backup", ""), ("z", "")] == [tuple(row) for row in found]
