"""The pass through a maintenance window."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from oneoff.config.settings import load_config
from oneoff.core.project import Project
from oneoff.services.maintenance.reader import MaintenanceReader
from oneoff.services.maintenance.window import Window, make_pass

KEY = "k" * 32
WINDOW = Window("two", datetime.now(UTC))


def reader(**environ: str) -> MaintenanceReader:
    """Return a reader with these environment variables."""
    project = Project("shop", commands=())
    return MaintenanceReader(load_config(Path(), project, environ))


def test_the_pass_of_this_window_is_accepted() -> None:
    """Every process with the key accepts it."""
    given = make_pass(KEY, "two").encode()

    assert reader(SECRET_KEY=KEY).accepts(given, WINDOW)


@pytest.mark.parametrize(
    "given",
    [make_pass(KEY, "one"), make_pass("x" * 32, "two"), make_pass(KEY, "two")[:-1], "two.", "two"],
)
def test_other_values_are_refused(given: str) -> None:
    """The pass of an earlier window, one that another key signed, and a part of a pass."""
    assert not reader(SECRET_KEY=KEY).accepts(given.encode(), WINDOW)


@pytest.mark.parametrize("given", [b"", b"\xff\x00", b"two." + b"0" * 100_000])
def test_bytes_of_any_kind_are_refused(given: bytes) -> None:
    """A client can send any bytes in a header."""
    assert not reader(SECRET_KEY=KEY).accepts(given, WINDOW)


def test_without_a_key_no_value_is_a_pass() -> None:
    """Not even one that the empty key signed."""
    assert not reader().accepts(make_pass("", "two").encode(), WINDOW)
