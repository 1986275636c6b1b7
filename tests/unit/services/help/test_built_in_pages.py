"""Help pages of the framework's own commands."""

from __future__ import annotations

from oneoff.runtime.registry.registry import Registry
from oneoff.services.help.pages import help_page


def test_the_dry_run_of_a_batch_is_not_said_to_do_all_rows() -> None:
    """It does a first batch."""
    registry = Registry(("oneoff.commands",), "")

    for name in ("data cleanup", "data transform"):
        page = help_page(registry, name.split())
        assert "- --dry-run does a first batch, rolls it back and counts the remaining" in page
