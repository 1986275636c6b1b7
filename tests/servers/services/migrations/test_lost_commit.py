"""If the answer to the COMMIT of a revision is lost, the error says what the database shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.servers import Proxy
from tests.support.servers.proxy import Fate
from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, Shop

WHERE = "the connection was lost in the commit of revision a2 (Revision a2)"


def in_commit_of(statement: str, fate: Fate) -> Callable[[bytes], Fate]:
    """Return what decides the fate of the COMMIT that follows a statement, once."""
    waiting = [statement.encode(), b"COMMIT;"]

    def decide(message: bytes) -> Fate:
        if not waiting or waiting[0] not in message:
            return Fate.PASS
        waiting.pop(0)
        return Fate.PASS if waiting else fate

    return decide


def confirmed(shop: Shop) -> str:
    """Return the option that confirms a command on this database."""
    return f"--confirm={shop.url.rpartition('/')[2]}@test"


@pytest.fixture
async def shop(postgres_shop: Shop, postgres_proxy: Proxy) -> Shop:
    """Return a project with a revision that is applied, and two that are not; behind a proxy."""
    postgres_shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    assert 0 == (await postgres_shop.manage("db migrate")).exit_code
    postgres_shop.write("a2", "a1", INSERT_ONE, "op.execute('DELETE FROM item')")
    postgres_shop.write("a3", "a2", INSERT_ONE)
    url = postgres_proxy.url(postgres_shop.url)
    postgres_shop.manage.environ["DATABASE_URL"] = url
    return postgres_shop


@pytest.mark.parametrize(
    ("fate", "ending", "applied"),
    [(Fate.LOSE_ANSWER, "committed", "a2"), (Fate.RESET, "rolled back", "a1")],
)
async def test_the_error_says_whether_the_revision_is_applied(
    shop: Shop, postgres_proxy: Proxy, fate: Fate, ending: str, applied: str
) -> None:
    """The next `migrate` does the rest."""
    postgres_proxy.decide(in_commit_of("INSERT INTO item", fate))

    failed = await shop.manage("db migrate")
    here = await shop.versions_applied()
    done = await shop.manage("db migrate")

    assert (69, [applied]) == (failed.exit_code, here), failed.stderr
    assert f"error[connection-lost]: {WHERE}" in failed.stderr
    assert (
        f"  why:  the database shows that it was {ending}; not applied: a3\n"
        "  try:  python manage.py migrate\n"
    ) in failed.stderr
    assert (0, [("one",)] * 2) == (done.exit_code, await shop.query("SELECT name FROM item"))


@pytest.mark.parametrize(
    ("fate", "ending", "result"),
    [
        (Fate.LOSE_ANSWER, "committed", (1, "rollback-stopped", "a1")),
        (Fate.RESET, "rolled back", (69, "connection-lost", "a2")),
    ],
)
async def test_the_error_says_whether_the_revision_is_undone(
    shop: Shop, postgres_proxy: Proxy, fate: Fate, ending: str, result: tuple[int, str, str]
) -> None:
    """After a commit, no exit code asks for a retry, which would undo another revision."""
    await shop.manage("db migrate --revision a2")
    postgres_proxy.decide(in_commit_of("DELETE FROM item", fate))

    failed = await shop.manage(f"db rollback {confirmed(shop)}")

    code, error, left = result
    assert (code, [left]) == (failed.exit_code, await shop.versions_applied()), failed.stderr
    assert f"error[{error}]: {WHERE}" in failed.stderr
    assert f"  why:  the database shows that it was {ending}\n" in failed.stderr


async def test_an_outage_after_a_revision_was_undone_asks_for_no_retry(
    shop: Shop, postgres_proxy: Proxy
) -> None:
    """The two newest revisions are not the same two any more."""
    await shop.manage("db migrate")
    postgres_proxy.decide(in_commit_of("DELETE FROM item", Fate.RESET))

    failed = await shop.manage(f"db rollback --steps 2 {confirmed(shop)}")

    assert (1, ["a2"]) == (failed.exit_code, await shop.versions_applied()), failed.stderr
    assert f"error[rollback-stopped]: {WHERE}" in failed.stderr
    assert "undone: a3\n  try:  python manage.py db status\n" in failed.stderr


async def test_a_rollback_of_which_nothing_is_known_asks_for_no_retry(
    shop: Shop, postgres_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been committed."""
    await shop.manage("db migrate --revision a2")
    monkeypatch.setattr("oneoff.services.migrations.lost_commit.SETTLE_TIME", 0.1)
    postgres_proxy.decide(in_commit_of("DELETE FROM item", Fate.OUTAGE))

    failed = await shop.manage(f"db rollback {confirmed(shop)}")

    assert (1, True) == (failed.exit_code, "it is unknown whether it was" in failed.stderr)


async def test_a_database_that_can_not_be_asked_leaves_it_unknown(
    shop: Shop, postgres_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is called rolled back."""
    monkeypatch.setattr("oneoff.services.migrations.lost_commit.SETTLE_TIME", 0.1)
    postgres_proxy.decide(in_commit_of("INSERT INTO item", Fate.OUTAGE))

    failed = await shop.manage("db migrate")

    assert 69 == failed.exit_code
    assert "why:  it is unknown whether it was committed, because the database" in failed.stderr
    assert "try:  python manage.py db status\n" in failed.stderr
