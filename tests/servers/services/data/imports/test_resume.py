"""`data import --resume`: committed batches are kept, and the same command continues after them."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from oneoff.testing import Finished, Manage
from tests.support.database import query
from tests.support.exports import started
from tests.support.fixture_types import Sessions
from tests.support.imports import on_postgres, write_csv

ROWS = 6_000
BAD = 4_500


@pytest.fixture(autouse=True)
async def tally(sessions: Sessions) -> None:
    """Create a table without a key, so that it accepts a row twice."""
    async with sessions() as session:
        await session.execute(text("CREATE TABLE tally (n int NOT NULL, what varchar(30))"))
        await session.commit()


def make_file(path: Path, *, bad: bool = False) -> Path:
    """Write a file; some rows have two lines, and one row may be bad."""
    if path.suffix == ".csv":
        lines = [f'{n},"row\n{n}"' if n % 7 == 0 else f"{n},row" for n in range(ROWS)]
        wrong = f"{BAD},{'x' * 31}"
        lines[BAD] = wrong if bad else lines[BAD]
        return write_csv(path, *lines, header="n,what")
    objects = [f'{{"n":{n},"what":"row"}}' + ("\n" if n % 7 == 0 else "") for n in range(ROWS)]
    objects[BAD] = f'{{"n":{BAD},"what":"{"x" * 31}"}}' if bad else objects[BAD]
    path.write_text("\n".join(objects), encoding="utf-8")
    return path


async def import_batches(manage: Manage, path: Path, *words: str) -> Finished:
    """Start or resume the import."""
    line = ["data", "import", "tally", str(path), "--resume", "--batch-size", "1000"]
    return await manage([*line, *(words or ("--confirm",))])


def counted(manage: Manage) -> tuple[int, int]:
    """Return the number of rows, and the number of different rows."""
    ((rows, different),) = query(
        manage.environ["DATABASE_URL"], "SELECT count(*), count(DISTINCT n) FROM tally"
    )
    return rows, different


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
async def test_batches_before_a_bad_row_are_kept(
    manage: Manage, tmp_path: Path, suffix: str
) -> None:
    """The error names the row. The same command continues with the row's batch."""
    path = make_file(tmp_path / f"rows.{suffix}", bad=True)

    first = await import_batches(manage, path)
    after_first = counted(manage)
    again = await import_batches(manage, path)

    lines = path.read_text(encoding="utf-8").split("\n")
    line = next(number for number, text in enumerate(lines, 1) if "xxx" in text)
    assert (65, 65) == (first.exit_code, again.exit_code)
    assert f"line {line:,}, column what: 'xxx" in first.stderr
    assert "its batch was rolled back" in first.stderr
    assert "4,000 rows done" in again.stderr
    assert (4_000, 4_000) == after_first == counted(manage)


async def test_a_changed_file_is_not_resumed(manage: Manage, tmp_path: Path) -> None:
    """Exit code 65, because the imported rows are unknown; --new-run starts again."""
    path = make_file(tmp_path / "rows.csv", bad=True)
    await import_batches(manage, path)
    make_file(path)

    refused = await import_batches(manage, path)
    done = await import_batches(manage, path, "--new-run", "--confirm")

    assert (65, False) == (refused.exit_code, "resuming" in refused.stderr)
    assert "error[file-changed]" in refused.stderr
    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert (ROWS + 4_000, ROWS) == counted(manage)


async def test_a_completed_file_is_not_imported_again(manage: Manage, tmp_path: Path) -> None:
    """A process that was killed while it closed its record could not report its success."""
    path = make_file(tmp_path / "rows.csv")
    await import_batches(manage, path)

    preview = await import_batches(manage, path, "--dry-run")
    again = await import_batches(manage, path)
    after = counted(manage)
    anew = await import_batches(manage, path, "--new-run", "--confirm")

    assert (0, 0, 0) == (preview.rows, again.exit_code, again.rows), again.stderr
    assert f"{path} was already imported by " in again.stderr
    assert ((ROWS, ROWS), ROWS) == (after, anew.rows)


async def test_new_content_under_the_same_name_is_imported(manage: Manage, tmp_path: Path) -> None:
    """For example a file that is replaced every night."""
    path = make_file(tmp_path / "rows.csv")
    await import_batches(manage, path)
    write_csv(path, "7001,new", header="n,what")

    preview = await import_batches(manage, path, "--dry-run")
    done = await import_batches(manage, path)

    assert (1, 1) == (preview.rows, done.rows), done.stderr
    assert (ROWS + 1, ROWS + 1) == counted(manage)


async def test_a_dry_run_counts_the_remaining_rows(manage: Manage, tmp_path: Path) -> None:
    """In one transaction, which is rolled back."""
    path = make_file(tmp_path / "rows.csv")

    preview = await import_batches(manage, path, "--dry-run")
    left = counted(manage)
    done = await import_batches(manage, path)

    assert (0, ROWS, (0, 0)) == (preview.exit_code, preview.rows, left), preview.stderr
    assert preview.outcome
    assert (ROWS, 0, 0) == preview.outcome.tables["tally"]
    assert (0, ROWS) == (done.exit_code, done.rows), done.stderr
    assert f"imported {ROWS:,} rows into tally" in done.stdout


async def test_a_killed_import_loses_and_repeats_no_row(manage: Manage, tmp_path: Path) -> None:
    """`make faults` runs this hundreds of times."""
    path = make_file(tmp_path / "rows.csv")
    words = ("tally", str(path), "--resume", "--batch-size", "50", "--confirm")
    codes = [await kill_while_it_works(manage, words) for _ in range(3)]

    done = await manage(["data", "import", *words])

    assert [-9] * 3 == codes
    assert 0 == done.exit_code, done.stderr
    assert (ROWS, ROWS) == counted(manage)


async def kill_while_it_works(manage: Manage, words: Sequence[str]) -> int:
    """Start a process, kill it when it has saved more rows, and return its exit code."""
    before, _ = counted(manage)
    process = await started(manage, *words, verb="import")
    while process.returncode is None and counted(manage)[0] <= before:  # noqa: ASYNC110 - it is in another process
        await asyncio.sleep(0.01)
    await asyncio.sleep(random.uniform(0, 0.1))
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
    assert process.returncode is not None
    return process.returncode


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-", "--format", "csv", "--resume"], "--resume needs a file"),
        (["a.json", "--resume"], "--resume reads csv or jsonl, not json"),
        (["a.csv", "--resume", "--rejects", "b"], "--rejects needs all rows in one transaction"),
        (["a.csv", "--batch-size", "5"], "--batch-size needs --resume"),
        (["a.csv", "--new-run"], "--new-run needs --resume"),
    ],
)
async def test_options_that_cannot_be_combined_are_refused(
    manage: Manage, words: list[str], problem: str
) -> None:
    """Exit code 2, before a prompt is shown or the file is read."""
    done = await manage(["data", "import", "tally", *words])

    assert 2 == done.exit_code
    assert problem in done.stderr


async def test_a_key_that_is_not_unique_is_refused(manage: Manage, tmp_path: Path) -> None:
    """Exit code 2, before the first batch."""
    path = make_file(tmp_path / "rows.csv")

    refused = await import_batches(manage, path, "--on-conflict", "skip", "--key", "n", "--confirm")

    assert 2 == refused.exit_code
    assert "--on-conflict skip: tally has no unique index on n" in refused.stderr


async def test_the_same_content_is_imported_once_under_every_name(
    manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is known by its content before compression, the table by its name in the catalog."""
    path = make_file(tmp_path / "rows.csv")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    monkeypatch.chdir(tmp_path)
    table = "public.tally" if on_postgres(manage) else "TALLY"
    await import_batches(manage, path)

    again = [
        await manage(["data", "import", *words, "--resume", "--confirm"])
        for words in (
            ["tally", "rows.csv"],
            ["tally", "./rows.csv"],
            ["tally", "rows.csv.gz"],
            [table, "rows.csv"],
            ["tally", "rows.csv", "--columns", "what,n"],
            ["tally", "rows.csv", "--format", "csv"],
        )
    ]

    assert [(0, 0)] * 6 == [(one.exit_code, one.rows) for one in again]
    assert all("was already imported by" in one.stderr for one in again)
    assert (ROWS, ROWS) == counted(manage)


async def test_an_import_is_resumed_under_another_name(manage: Manage, tmp_path: Path) -> None:
    """It continues after the rows that are saved."""
    path = make_file(tmp_path / "rows.csv", bad=True)
    await import_batches(manage, path)
    copy = tmp_path / "copy.csv.gz"
    copy.write_bytes(gzip.compress(path.read_bytes()))

    again = await import_batches(manage, copy)

    assert "4,000 rows done" in again.stderr
    assert (4_000, 4_000) == counted(manage)


@pytest.mark.parametrize("words", [["--dry-run"], ["--confirm"]])
async def test_the_same_content_with_other_options_is_refused(
    manage: Manage, tmp_path: Path, words: list[str]
) -> None:
    """Its rows would be in the table twice; --new-run imports them."""
    path = make_file(tmp_path / "rows.csv")
    await import_batches(manage, path)

    refused = await import_batches(manage, path, "--columns", "n", *words)
    anew = await import_batches(manage, path, "--columns", "n", "--new-run", "--confirm")

    assert 2 == refused.exit_code
    assert "error[already-imported]" in refused.stderr
    assert "with other options: columns n, what, not n" in refused.stderr
    assert (0, ROWS) == (anew.exit_code, anew.rows)


async def test_a_cancelled_import_is_not_repeated(manage: Manage, tmp_path: Path) -> None:
    """Its first rows are in the table; --new-run imports them again."""
    path = make_file(tmp_path / "rows.csv", bad=True)
    await import_batches(manage, path)
    ((batch,),) = query(manage.environ["DATABASE_URL"], "SELECT id FROM oneoff_batches")
    await manage(f"batch cancel {batch} --confirm")

    refused = await import_batches(manage, path)
    left = counted(manage)
    anew = await import_batches(manage, path, "--new-run", "--confirm")

    assert (2, 65) == (refused.exit_code, anew.exit_code)
    assert f"was imported up to line 4,573 by {batch}, which was cancelled" in refused.stderr
    assert (4_000, 4_000) == left
    assert (8_000, 4_000) == counted(manage)


async def test_a_new_run_replaces_the_import_of_an_earlier_content(
    manage: Manage, tmp_path: Path
) -> None:
    """Later contents of the file are then imported without --new-run."""
    path = make_file(tmp_path / "rows.csv", bad=True)
    await import_batches(manage, path)
    make_file(path)
    await import_batches(manage, path, "--new-run", "--confirm")
    write_csv(path, "7001,new", header="n,what")

    done = await import_batches(manage, path)

    assert (0, 1) == (done.exit_code, done.rows), done.stderr
