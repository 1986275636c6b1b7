"""What a run asks before it starts, on databases that are connected."""

from __future__ import annotations

from pathlib import Path

from oneoff.config.database_url import parse_database_url
from oneoff.testing import Manage


async def test_the_advice_names_the_target_although_a_secret_is_a_part_of_it(
    manage: Manage, manage_environ: dict[str, str]
) -> None:
    """Otherwise the line with `--confirm` could not be used."""
    name = parse_database_url(manage_environ["DATABASE_URL"], Path(), "shop").name

    refused = await manage("db reset", environ={"API_TOKEN": f"{name}@"})

    assert 77 == refused.exit_code
    assert f"--confirm={name}@test\n" in refused.stderr
