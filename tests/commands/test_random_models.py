"""From any models to any others: the revision works in both directions, or is not written.

SCHEMA_EXAMPLES is the number of pairs for each database; `make faults` sets a large one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.model_files import schema, target, write_models
from tests.support.schema_vocabulary import (
    ARGUMENTS,
    COLUMNS,
    EXTRA,
    MODELS,
    ON_POSTGRESQL,
    SCHEMAS,
)
from tests.support.servers import Postgres
from tests.support.shop import Shop

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "3"))
MOST_REFUSED = 0.1
ENOUGH = 20  # pairs from which on the share of refusals means something


def models(dialect: str) -> st.SearchStrategy[str]:
    """Return a strategy for the source of models."""
    postgresql = dialect == "postgres"
    vocabulary = COLUMNS | (ON_POSTGRESQL if postgresql else {})

    @st.composite
    def draw_models(draw: st.DrawFn) -> str:
        chosen = {name: draw(st.none() | st.sampled_from(vocabulary[name])) for name in vocabulary}
        columns = [f"    {name} = mapped_column({how})" for name, how in chosen.items() if how]
        arguments = draw(st.none() | st.sampled_from(ARGUMENTS))
        source = MODELS.format(
            columns="\n".join(columns), arguments=f"{arguments}," if arguments else ""
        )
        extra = draw(st.none() | st.sampled_from(SCHEMAS if postgresql else SCHEMAS[:1]))
        return source + (EXTRA.format(schema=extra or None) if extra is not None else "")

    return draw_models()


async def advance(shop: Shop, source: str) -> bool | None:
    """Write and apply a revision; return whether it was, or None if there was nothing to do."""
    write_models(shop, source, "include_schemas=True")
    before = set(shop.versions.glob("*.py"))
    made = await shop.manage("db create-migration -m change --allow-drops")
    if made.exit_code:
        assert "error[unverified-revision]" in made.stderr, made.stderr
        assert before == set(shop.versions.glob("*.py"))
        if os.environ.get("SCHEMA_VERBOSE"):
            print(made.stderr, source)
        return False
    if before == set(shop.versions.glob("*.py")):
        return None
    migrated = await shop.manage("db migrate")
    assert 0 == migrated.exit_code, migrated.stderr
    checked = await shop.manage("db create-migration --check")
    assert 0 == checked.exit_code, checked.stdout
    return True


async def check_pair(shop: Shop, old: str, new: str, count: Callable[[bool], None]) -> None:
    """Check both revisions: from nothing to the old models, and from there to the new ones."""
    if shop.url.startswith("postgres"):
        await shop.query("CREATE SCHEMA crm")
    written = await advance(shop, old)
    count(written is not False)
    if not written:
        return
    before = await schema(shop)
    written = await advance(shop, new)
    count(written is not False)
    if written:
        undone = await shop.manage(f"db rollback --confirm={target(shop)}")
        assert 0 == undone.exit_code, undone.stderr
        assert before == await schema(shop)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_revision_works_in_both_directions_or_is_not_written(
    dialect: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """For random pairs of models; at most a tenth is refused."""
    results: list[bool] = []
    server: Postgres | None = None
    if dialect == "postgres":
        server = request.getfixturevalue("postgres_server")

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(models(dialect), models(dialect))
    def check(old: str, new: str) -> None:
        with TemporaryDirectory() as folder:
            if server is None:
                shop = Shop(Path(folder) / "shop", f"sqlite:///{folder}/test.sqlite3")
                asyncio.run(check_pair(shop, old, new, results.append))
                return
            with server.database() as name:
                shop = Shop(Path(folder) / "shop", server.url(name))
                asyncio.run(check_pair(shop, old, new, results.append))

    check()

    refused = results.count(False)
    with capsys.disabled():
        print(f"\n{dialect}: {refused} of {len(results)} revisions were refused")
    assert len(results) < ENOUGH or refused <= MOST_REFUSED * len(results)
