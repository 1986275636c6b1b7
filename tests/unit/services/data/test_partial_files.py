"""Files that are written until they are complete, and what killed runs leave of them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from oneoff.services.data.files import BLOCK, open_output
from oneoff.services.data.partial_files import create_partial

if TYPE_CHECKING:
    from oneoff.runtime.terminal import Terminal

NO_TERMINAL = cast("Terminal", None)
"""Only standard output needs one."""


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_of_a_killed_run_is_removed_and_named(tmp_path: Path) -> None:
    """Also one with the number of this process, as in a container. Other files are left alone."""
    others = [".rows.csv.partial", ".rows.csv.errors.jsonl.17.partial", ".rows.csv.old.partial"]
    left = [".rows.csv.0badcafe.partial", f".rows.csv.{os.getpid()}.partial"]
    for name in (*left, *others):
        (tmp_path / name).touch()

    partial = create_partial(str(tmp_path / "rows.csv"))
    os.close(partial.descriptor)

    assert sorted(left) == sorted(partial.removed)
    assert sorted([*others, Path(partial.path).name]) == names_in(tmp_path)


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    """Two runs may write to the same target; each has its own file."""
    first, second = (create_partial(str(tmp_path / "rows.csv")) for _ in range(2))

    assert (2, ()) == (len(names_in(tmp_path)), second.removed)
    for partial in (first, second):
        os.close(partial.descriptor)


def test_a_device_with_the_name_of_a_left_file_is_left_alone(tmp_path: Path) -> None:
    """Only files are removed."""
    os.mkfifo(tmp_path / ".rows.csv.1.partial")

    partial = create_partial(str(tmp_path / "rows.csv"))
    os.close(partial.descriptor)

    assert () == partial.removed


async def test_a_pipe_is_closed_only_after_the_thread_that_writes_to_it(tmp_path: Path) -> None:
    """Otherwise the rest of its block would be written into the next file that is opened."""
    pipe, other = tmp_path / "pipe", tmp_path / "other"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writing = asyncio.Event()

    async def export() -> None:
        async with open_output(str(pipe), NO_TERMINAL, overwrite=False) as output:
            for _ in range(BLOCK // 1024 + 1):
                await output.write(b"x" * 1024)
            writing.set()
            await output.finish()

    task = asyncio.create_task(export())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with other.open("wb", buffering=0):
        os.set_blocking(reader, True)
        size = 0
        while part := await asyncio.to_thread(os.read, reader, BLOCK):
            size += len(part)
    os.close(reader)

    assert (BLOCK, 0) == (size, other.stat().st_size)
