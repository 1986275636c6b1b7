"""A plug-in that is installed for one test: a module, and the metadata with its entry points."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def installed_plugin(
    folder: Path,
    entry_points: str,
    files: Mapping[str, str],
    *,
    name: str = "acme",
) -> Iterator[None]:
    """Install a distribution while the block runs, and forget its modules afterwards.

    Args:
        folder: An empty folder, which becomes the first one of `sys.path`.
        entry_points: The content of its entry_points.txt.
        files: The texts of its source files by their paths.
        name: The name of the distribution. Its version is 1.0.
    """
    for path, text in {
        f"{name}-1.0.dist-info/entry_points.txt": entry_points,
        **files,
    }.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    tops = {Path(path).parts[0].removesuffix(".py") for path in files}
    for module in [one for one in sys.modules if one.partition(".")[0] in tops]:
        del sys.modules[module]


@contextmanager
def listening(folder: Path, body: str = "return SEEN.append") -> Iterator[list[Any]]:
    """Install a plug-in with a listener while the block runs; yield its list `SEEN`.

    Args:
        folder: An empty folder.
        body: The body of the function that returns the listener; by default it collects events.
    """
    text = f"import threading, time\nSEEN = []\ndef listener(config):\n    {body}\n"
    points = "[oneoff.events]\ntrace = acme_events:listener\n"
    with installed_plugin(folder, points, {"acme_events.py": text}):
        yield import_module("acme_events").SEEN


def newest_status(path: str) -> str:
    """Return the status of the newest run in a SQLite file."""
    query = "SELECT status FROM oneoff_runs ORDER BY id DESC LIMIT 1"
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(query).fetchone()[0])
