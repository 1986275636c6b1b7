"""The runbook for migrations in production works from top to bottom, also if a revision fails."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from oneoff.testing import Finished
from tests.support.servers import Postgres
from tests.support.shop import CREATE_ITEM, DROP_ITEM, FAIL, Shop

PAGE = Path(__file__).parents[2] / "docs/howto/production-migration.md"
STEP = re.compile(r"^## (\d+)\. [^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps() -> dict[int, list[str]]:
    """Return the command lines of the page by step."""
    found = STEP.findall(PAGE.read_text(encoding="utf-8"))
    return {int(number): str("".join(BLOCK.findall(text))).splitlines() for number, text in found}


class Operator:
    """Follows the page, with the names of this test's databases."""

    def __init__(self, shop: Shop, rehearsal: str, folder: Path) -> None:
        self.shop, self._folder = shop, folder
        self._names = {"shop@": shop.database().url.database, "rehearsal@": rehearsal}
        self._variables = {"REHEARSAL_URL": f"{shop.url.rpartition('/')[0]}/{rehearsal}"}

    async def follow(self, *numbers: int, fails: str = "") -> list[Finished]:
        """Run the lines of these steps; only the one that is named may fail."""
        done = []
        for line in (line for number in numbers for line in steps()[number]):
            done.append(await self._run(line))
            failed = done[-1].exit_code != 0
            assert (line == fails) == failed, f"{line}\n{done[-1].stderr}"
        return done

    async def _run(self, line: str) -> Finished:
        assignments, program, words = line.partition("python manage.py ")
        assert program, line
        for name, real in self._names.items():
            words = words.replace(f"={name}", f"={real}@")
        words = words.replace("$BACKUP", f"{self._folder}/shop")
        environ = dict(
            Template(assignment).substitute(self._variables).split("=", 1)
            for assignment in shlex.split(assignments)
        )
        return await self.shop.manage(words, environ=environ)


@pytest.fixture
def rehearsal(postgres_server: Postgres) -> Iterator[str]:
    """Return the name of a second database."""
    with postgres_server.database() as name:
        yield name


@pytest.fixture
async def operator(postgres_shop: Shop, rehearsal: str, tmp_path: Path) -> Operator:
    """Return an operator of a shop in production, whose new code has the revision 0004."""
    shop, table = postgres_shop, CREATE_ITEM.partition("op.create_index")[0]
    shop.manage.environ["ENVIRONMENT"] = "production"
    shop.write("0003", None, table, DROP_ITEM)
    assert 0 == (await shop.manage("migrate")).exit_code
    await shop.query("INSERT INTO item (name) VALUES ('kept')")
    shop.write("0004", "0003", CREATE_ITEM.removeprefix(table), 'op.drop_index("ix_item_name")')
    return Operator(shop, rehearsal, tmp_path)


async def is_up(shop: Shop) -> bool:
    """Return whether no maintenance window is open."""
    return [] == await shop.query("SELECT * FROM oneoff_maintenance WHERE ended_at IS NULL")


async def test_the_runbook_migrates(operator: Operator) -> None:
    """No line fails, and the application is up at the end."""
    assert [*range(1, 13)] == list(steps())

    await operator.follow(*range(1, 9))

    assert ["0004"] == await operator.shop.versions_applied()
    assert await is_up(operator.shop)


async def test_the_runbook_goes_back_if_a_revision_fails(operator: Operator) -> None:
    """First to the previous revision, which keeps new rows, and then to the backup."""
    shop = operator.shop
    await operator.follow(2, 4, 5)
    shop.write("0005", "0004", f"op.execute('DELETE FROM item')\n{FAIL}")

    await operator.follow(6, 9, fails="python manage.py migrate")
    partly = await shop.versions_applied()
    await shop.query("INSERT INTO item (name) VALUES ('new')")
    await operator.follow(10)
    undone = (await shop.versions_applied(), await shop.query("SELECT name FROM item ORDER BY id"))
    *_, reviews = await operator.follow(11, 12)

    assert "2 runs to review" in reviews.stdout
    assert ["0004"] == partly
    assert (["0003"], [("kept",), ("new",)]) == undone
    assert [("kept",)] == await shop.query("SELECT name FROM item")
    assert ["0003"] == await shop.versions_applied()
    assert await is_up(shop)
    assert [("db migrate",)] == await shop.query(
        "SELECT command FROM oneoff_runs WHERE status = 'failed'"
    )
