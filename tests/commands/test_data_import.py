"""`data import`: new rows, existing rows, formats, and the errors."""

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


async def test_the_rows_of_a_file_are_imported(manage: Manage, two: Path) -> None:
    """With their values. The message and the outcome contain the number of rows."""
    done = await load(manage, two)

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "backup"] == names(manage)
    assert "imported 2 rows into service_accounts" in done.stdout
    assert done.outcome
    assert (2, 0, 0) == done.outcome.tables["service_accounts"]


async def test_a_dry_run_reports_the_same_numbers_and_imports_nothing(
    manage: Manage, two: Path
) -> None:
    """Also for each table."""
    preview = await manage(f"data import service_accounts {two} --dry-run --json")
    left = names(manage)
    real = await manage(f"data import service_accounts {two} --confirm --json")

    assert [] == left
    assert preview.json["tables"] == real.json["tables"]
    assert preview.json["data"] == real.json["data"]


async def test_an_existing_row_is_an_error(manage: Manage, two: Path) -> None:
    """Nothing is imported, not even the new rows."""
    await load(manage, two)
    more = write_csv(two.parent / "more.csv", account(3, "new"), account(2, "other"))

    done = await load(manage, more)

    assert 65 == done.exit_code
    assert f"error[bad-rows]: {more}, line 3, column id: '2' already exists" in done.stderr
    assert ["ci", "backup"] == names(manage)


async def test_existing_rows_can_be_skipped(manage: Manage, two: Path) -> None:
    """A row that is in the file twice is imported once; a second run changes nothing."""
    await load(manage, two)
    lines = (account(2, "other"), account(3, "new"), account(3, "again"))
    more = write_csv(two.parent / "more.csv", *lines)

    done = await load(manage, more, "--on-conflict", "skip")
    again = await load(manage, more, "--on-conflict", "skip")

    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert ["ci", "backup", "new"] == names(manage)
    assert again.outcome
    assert "unchanged" == again.outcome.status.value


async def test_existing_rows_can_be_updated(manage: Manage, two: Path) -> None:
    """Rows without a difference are not written."""
    await load(manage, two)
    lines = (account(1, "ci"), account(2, "other"), account(3, "new"))
    more = write_csv(two.parent / "more.csv", *lines)

    done = await load(manage, more, "--on-conflict", "update")

    assert (0, 2) == (done.exit_code, done.rows), done.stderr
    assert done.outcome
    assert (1, 1, 0) == done.outcome.tables["service_accounts"]
    assert ["ci", "other", "new"] == names(manage)


async def test_existing_rows_can_be_found_by_another_key(manage: Manage, two: Path) -> None:
    """The key must be unique."""
    await load(manage, two)
    more = write_csv(two.parent / "more.csv", "ci,builds", header="name,description")

    done = await load(manage, more, "--on-conflict", "update", "--key", "name")
    wrong = await load(manage, more, "--on-conflict", "update", "--key", "description")

    url = manage.environ["DATABASE_URL"]
    assert (0, 1) == (done.exit_code, done.rows), done.stderr
    assert [("builds",)] == query(url, "SELECT description FROM service_accounts WHERE id = 1")
    assert 2 == wrong.exit_code
    assert "service_accounts has no unique index on description" in wrong.stderr


async def test_an_update_with_two_rows_of_the_same_key_is_an_error(
    manage: Manage, two: Path
) -> None:
    """It is unknown which of the two rows is right."""
    path = write_csv(two.parent / "twice.csv", account(1, "ci"), account(1, "backup"))

    done = await load(manage, path, "--on-conflict", "update")

    assert 65 == done.exit_code
    assert "line 3, column id: '1' is in the file more than once" in done.stderr
    assert [] == names(manage)


async def test_columns_that_are_not_in_the_file_get_their_defaults(
    manage: Manage, tmp_path: Path
) -> None:
    """Also the primary key."""
    path = write_csv(tmp_path / "names.csv", "ci", "backup", header="name")

    done = await load(manage, path)

    assert 0 == done.exit_code, done.stderr
    found = query(manage.environ["DATABASE_URL"], "SELECT id, name, active FROM service_accounts")
    assert [(1, "ci", True), (2, "backup", True)] == sorted(found)


async def test_columns_of_the_file_can_be_left_out(manage: Manage, tmp_path: Path) -> None:
    """Also columns that the table does not have."""
    path = write_csv(tmp_path / "more.csv", "ci,secret,yes", header="name,description,shoe_size")

    done = await load(manage, path, "--columns", "name")

    url = manage.environ["DATABASE_URL"]
    assert 0 == done.exit_code, done.stderr
    assert [("ci", "")] == query(url, "SELECT name, description FROM service_accounts")


async def test_the_next_row_gets_a_new_number(manage: Manage, two: Path) -> None:
    """The import moves the sequence past the imported values."""
    await load(manage, two)

    done = await manage("service-account create next")

    assert 0 == done.exit_code, done.stderr
    assert ["ci", "backup", "next"] == names(manage)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
async def test_standard_input_can_be_imported(manage: Manage, two: Path, kind: str) -> None:
    """It needs --format."""
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


async def test_compressed_files_are_recognized_by_their_content(manage: Manage, two: Path) -> None:
    """Not by their names. They may have a byte order mark and CR LF line ends."""
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
    """They would overwrite the personal data. The other columns can be imported."""
    await make_user("ada")
    path = tmp_path / "masked.csv"
    await manage(f"data export users -o {path}")

    line = f"data import users {path} --on-conflict update --confirm"
    refused = await manage(line)
    done = await manage([*line.split(), "--columns", "id,role,active"])

    assert 65 == refused.exit_code
    assert "was exported with personal data masked: email, password_hash" in refused.stderr
    # A new user needs an address, so the remaining columns are not enough for an INSERT.
    assert 65 == done.exit_code
    assert "column 'email' is missing, but the table requires it" in done.stderr
    assert "or add to --columns the columns that the table requires" in done.stderr
    assert "NAME,NAME" not in done.stderr


async def test_an_update_needs_only_the_columns_that_the_table_requires(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """The other columns of the file are not imported, even if they differ."""
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


async def test_errors_do_not_contain_personal_data(manage: Manage, tmp_path: Path) -> None:
    """Neither for an invalid value nor for one that already exists."""
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
async def test_a_file_without_rows_changes_nothing(
    manage: Manage, tmp_path: Path, kind: str
) -> None:
    """The export of an empty table can be imported."""
    path = tmp_path / f"none.{kind}"
    await manage(f"data export service_accounts -o {path}")

    done = await load(manage, path)

    assert (0, 0) == (done.exit_code, done.rows), done.stderr
    assert not done.result.did_change
    assert "nothing to do in service_accounts" in done.stdout


@pytest.mark.parametrize("words", [(), ("--resume",)])
async def test_an_empty_json_lines_file_changes_nothing(
    manage: Manage, tmp_path: Path, words: Sequence[str]
) -> None:
    """In one transaction or in batches. A table that does not exist is still an error."""
    path = tmp_path / "none.jsonl"
    path.touch()

    done = await load(manage, path, *words)
    mistyped = await manage(["data", "import", "service_acounts", str(path), "--confirm", *words])

    assert (0, False) == (done.exit_code, done.result.did_change), done.stderr
    assert "nothing to do in service_accounts" in done.stdout
    assert 1 == mistyped.exit_code
    assert "service_acounts" in mistyped.stderr


async def test_sql_is_not_imported(manage: Manage, tmp_path: Path) -> None:
    """It may contain any statement. The message names programs that run it."""
    path = tmp_path / "dump.sql"
    path.write_text("DROP TABLE users;", encoding="utf-8")

    done = await load(manage, path)

    assert 2 == done.exit_code
    assert "SQL can't be imported, because it may contain any statement" in done.stderr


async def test_a_file_of_many_rows_is_imported(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """It is read in several blocks, with quotes and line ends at their borders."""
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
    """They are refused before rows are read."""
    path = write_csv(tmp_path / "names.csv", "ci", header="name")

    done = await load(manage, path, *words.split())

    assert 2 == done.exit_code, done.stderr
    assert [] == names(manage)


MIXED_LINE_ENDS = (
    HEADER.encode() + b"\r\n",
    b'1,ci,"a\r\nb\nc",t,2026-01-01\n',
    b'2,backup,"",t,2026-01-01\r\n',
    b'3,z,"",t,2026-01-01\n',
)


@pytest.mark.parametrize("words", [(), ("--resume",), ("--rejects", "bad.csv")])
async def test_a_file_may_mix_line_ends(
    manage: Manage, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Line ends inside quotes are kept unchanged."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"".join(MIXED_LINE_ENDS))

    done = await load(manage, path, *[str(tmp_path / w) if "." in w else w for w in words])

    assert (0, 3) == (done.exit_code, done.rows), done.stderr
    url = manage.environ["DATABASE_URL"]
    found = query(url, "SELECT name, description FROM service_accounts ORDER BY id")
    assert [("ci", "a\r\nb\nc"), ("backup", ""), ("z", "")] == [tuple(row) for row in found]
