"""The models and the migrations describe the same schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneoff.testing import Manage


async def test_models_and_migrations_do_not_differ(manage: Manage) -> None:
    """Autogenerate finds no difference on SQLite and on PostgreSQL."""
    outcome = await manage("db create-migration --check")

    assert 0 == outcome.exit_code, outcome.stderr
