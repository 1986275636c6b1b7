"""`data export`: where the file is written, and what remains after an error."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
from pathlib import Path
from stat import filemode

import pytest
import zstandard
from pyarrow import parquet
from sqlalchemy import text

from oneoff.services.data.exports import parquet as export_parquet
from oneoff.testing import Manage
from tests.support.database import query
from tests.support.exports import make_many, started
from tests.support.fixture_types import Sessions


@pytest.fixture
async def many(sessions: Sessions) -> int:
    """Make a table of 50,000 rows."""
    return await make_many(sessions)


def names_like(part: str, folder: Path) -> list[str]:
    """Return the names in a folder that contain a text, including hidden files."""
    return [path.name for path in folder.iterdir() if part in path.name]


async def test_the_suffixes_of_a_file_give_its_format_and_compression(
    manage: Manage, many: int, tmp_path: Path
) -> None:
    """Two exports of the same rows have the same bytes."""
    for name in ("a.jsonl.gz", "b.jsonl.zst", "c.jsonl", "d.jsonl.gz"):
        done = await manage(f"data export many -o {tmp_path}/{name}")
        assert 0 == done.exit_code, done.stderr

    plain = (tmp_path / "c.jsonl").read_bytes()
    assert many == len([json.loads(line) for line in plain.splitlines()])
    assert plain == gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes())
    with zstandard.open(tmp_path / "b.jsonl.zst", "rb") as stream:
        assert plain == stream.read()
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "d.jsonl.gz").read_bytes()


@pytest.mark.usefixtures("many")
async def test_a_parquet_file_does_not_depend_on_the_parts_in_which_rows_arrive(
    manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends the rows in different parts each time."""
    monkeypatch.setattr(export_parquet, "BLOCK", 1 << 14)
    take = export_parquet.ParquetRows.take
    files: list[bytes] = []

    for size in (3, 700, 100_000):

        async def take_in_parts(
            self: export_parquet.ParquetRows, rows: bytes, size: int = size
        ) -> None:
            lines = rows.splitlines(keepends=True)
            for at in range(0, len(lines), size):
                await take(self, b"".join(lines[at : at + size]))

        monkeypatch.setattr(export_parquet.ParquetRows, "take", take_in_parts)
        path = tmp_path / f"{size}.parquet"
        done = await manage(f"data export many -o {path}")
        assert 0 == done.exit_code, done.stderr
        files.append(path.read_bytes())

    assert [True, True] == [files[0] == other for other in files[1:]]
    groups = parquet.ParquetFile(tmp_path / "3.parquet").metadata
    assert groups.num_row_groups > 10
    assert 50_000 == groups.num_rows


async def test_only_the_owner_can_read_a_new_file(manage: Manage, tmp_path: Path) -> None:
    """It may contain personal data. A file that replaces another one keeps that file's mode."""
    shared = tmp_path / "shared.csv"
    shared.touch()
    shared.chmod(0o640)

    for path in (tmp_path / "new.csv", shared):
        done = await manage(f"data export users -o {path} --overwrite")
        assert 0 == done.exit_code, done.stderr

    assert "-rw-------" == filemode((tmp_path / "new.csv").stat().st_mode)
    assert "-rw-r-----" == filemode(shared.stat().st_mode)


@pytest.mark.usefixtures("many")
async def test_an_existing_file_is_replaced_only_with_overwrite(
    manage: Manage, tmp_path: Path
) -> None:
    """Without --overwrite the export is refused, and the file is unchanged."""
    path = tmp_path / "many.csv"
    path.write_text("mine")

    refused = await manage(f"data export many -o {path}")
    kept = path.read_text()
    done = await manage(f"data export many -o {path} --overwrite")

    assert (1, "mine", 0) == (refused.exit_code, kept, done.exit_code)
    assert f"error[file-exists]: {path} already exists" in refused.stderr
    assert path.read_text().startswith("id,what")
    assert ["many.csv"] == names_like("many", tmp_path)


async def test_the_file_of_a_killed_export_does_not_block_the_next_one(
    manage: Manage, tmp_path: Path
) -> None:
    """It is removed, and named. In a container both processes have the same number."""
    left = tmp_path / f".users.csv.{os.getpid()}.partial"
    left.touch()

    done = await manage(f"data export users -o {tmp_path}/users.csv")

    assert 0 == done.exit_code, done.stderr
    assert f"removed an incomplete file of a run that was killed: {left.name}\n" in done.stderr
    assert ["users.csv"] == names_like("users", tmp_path)


async def test_an_error_names_the_file_that_cannot_be_written(
    manage: Manage, tmp_path: Path
) -> None:
    """With the message of the operating system."""
    done = await manage(f"data export users -o {tmp_path}/nowhere/many.csv")

    assert 1 == done.exit_code
    assert (
        f"error[file-not-written]: {tmp_path}/nowhere/many.csv can't be written: "
        "No such file or directory\n"
    ) in done.stderr


async def test_a_full_disk_is_reported(manage: Manage, many: int) -> None:
    """A device is written directly, without a partial file."""
    done = await manage("data export many -o /dev/full --format csv")

    assert 1 == done.exit_code
    assert "/dev/full can't be written: No space left on device" in done.stderr


async def test_a_reader_that_closes_the_pipe_is_not_an_error(manage: Manage, many: int) -> None:
    """The export stops and reports it."""
    process = await started(manage, "many")
    assert process.stdout
    assert process.stderr

    first = await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]  # like `head` when it exits
    said = await process.stderr.read()

    assert (b"id,what\n", 0) == (first, await process.wait()), said
    assert b"stopped exporting many: the reader closed the output\n" in said


@pytest.mark.parametrize("manage_environ", ["postgres"], indirect=True)
async def test_a_signal_cancels_the_statement_and_leaves_no_file(
    manage: Manage, sessions: Sessions, tmp_path: Path
) -> None:
    """The statement would run for minutes if it were not cancelled."""
    async with sessions() as session:
        await session.execute(
            text(
                "CREATE VIEW slow AS "
                "SELECT i, pg_sleep(0.01)::text FROM generate_series(1, 90000) i"
            )
        )
        await session.commit()
    process = await started(manage, "slow", "-o", str(tmp_path / "slow.csv"))
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%slow%' AND state = 'active'"
    )
    deadline = asyncio.get_running_loop().time() + 20
    while query(manage.environ["DATABASE_URL"], running) != [(1,)]:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)

    process.send_signal(signal.SIGTERM)

    _, said = await process.communicate()
    assert 143 == process.returncode, said
    assert [] == names_like("slow", tmp_path)
    assert [(0,)] == query(manage.environ["DATABASE_URL"], running)
