"""The worker's settings, as ARQ reads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app.worker

if TYPE_CHECKING:
    import pytest


def imported_again() -> Any:
    """Return a second copy of the module, as another process would import it."""
    spec = importlib.util.spec_from_file_location("worker_again", Path(app.worker.__file__ or ""))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_number_of_jobs_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is no number is reported when the worker connects, not by an import."""
    monkeypatch.setenv("WORKER_MAX_JOBS", "12")
    chosen = imported_again().WorkerSettings.max_jobs
    monkeypatch.setenv("WORKER_MAX_JOBS", "many")

    assert (12, 5) == (chosen, imported_again().WorkerSettings.max_jobs)
