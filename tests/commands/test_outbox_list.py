"""`outbox list`."""

from __future__ import annotations

from oneoff.testing import Manage
from tests.support.tally_project import execute

WAITING = (
    "INSERT INTO oneoff_outbox (batch_id, kind, payload, created_at) "
    "VALUES ('', 'tally.count', '{\"row\": 1}', '2026-01-01 00:00:00+00:00')"
)


async def test_an_empty_list_of_effects_is_a_message(tally: Manage) -> None:
    """Without any output it would look like a failure."""
    listed = await tally("outbox list")
    given_up = await tally("outbox list --state given-up")

    assert "no effect is undelivered\n" == listed.stdout
    assert "no effect is given-up\n" == given_up.stdout


async def test_a_waiting_effect_is_listed_until_it_is_delivered(tally: Manage, url: str) -> None:
    """With its kind and its number of attempts."""
    execute(url, WAITING)

    before = await tally("outbox list --json")
    await tally("outbox deliver")
    after = await tally("outbox list --json")

    (effect,) = before.json["data"]
    assert ("tally.count", 0) == (effect["kind"], effect["attempts"])
    assert [] == after.json["data"]
