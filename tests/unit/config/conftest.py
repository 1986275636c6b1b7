"""Fixtures for tests of the settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.modules import Module


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Return a module for this test, which has no source yet."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Module(tmp_path)
    sys.modules.pop(Module.name, None)
