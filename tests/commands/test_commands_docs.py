"""`commands docs`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneoff import CheckFailed
from oneoff.commands.commands.docs import Docs
from tests.support.command_package import Package, command


@pytest.fixture
def docs(command_package: Package, tmp_path: Path) -> Callable[..., object]:
    """Return a function that runs `commands docs` on a project with one command."""
    command_package.write(report=command())

    def run(*, only_check: bool = False, dry_run: bool = False) -> object:
        class Config:
            root = tmp_path

        class Run:
            pass

        run_info, config = Run(), Config()
        vars(run_info)["dry_run"] = dry_run
        handle: Any = Docs(check=only_check, output=Path("page.md")).handle
        result: object = handle(config, command_package.registry(), run_info)
        return result

    return run


def test_the_reference_is_written_once(docs: Callable[..., object], tmp_path: Path) -> None:
    """The second run changes nothing."""
    first, second = docs(), docs()

    assert ["wrote page.md", "page.md is up to date"] == [
        getattr(result, "message", "") for result in (first, second)
    ]
    assert "### report" in (tmp_path / "page.md").read_text()


def test_a_dry_run_writes_no_page(docs: Callable[..., object], tmp_path: Path) -> None:
    """The page does not exist afterwards."""
    docs(dry_run=True)

    assert not (tmp_path / "page.md").exists()


def test_a_page_that_is_out_of_date_fails_the_check(
    docs: Callable[..., object], tmp_path: Path
) -> None:
    """The exit code is 3, and nothing is written."""
    (tmp_path / "page.md").write_text("old")

    with pytest.raises(CheckFailed) as caught:
        docs(only_check=True)

    assert ("reference-stale", 3) == (caught.value.code, int(caught.value.exit_code))
    assert "old" == (tmp_path / "page.md").read_text()
