"""`apikey revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.database import query
from tests.support.keys import ACCOUNT, make_key, refusal, stored
from tests.support.on_sqlite import ON_SQLITE

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import Sessions


@pytest.mark.parametrize("by", ["number", "prefix"])
async def test_a_revoked_key_does_not_work(manage: Manage, sessions: Sessions, by: str) -> None:
    """A second run succeeds and writes nothing."""
    await manage(ACCOUNT)
    key = await make_key(manage)
    name = key[:13] if by == "prefix" else "1"

    first = await manage(f"apikey revoke {name} --confirm")
    again = await manage(f"apikey revoke {name} --confirm")

    assert (0, 1, f"key 1 ({key[:13]}) of ci is revoked\n") == (
        first.exit_code,
        first.rows,
        first.stdout,
    )
    assert (0, 0, "key 1 has already ended: it is revoked\n") == (
        again.exit_code,
        again.rows,
        again.stdout,
    )
    assert "revoked" == await refusal(sessions, key)


async def test_a_dry_run_revokes_nothing(manage: Manage, sessions: Sessions) -> None:
    """It reports the row that the command would write."""
    await manage(ACCOUNT)
    key = await make_key(manage)

    preview = await manage("apikey revoke 1 --dry-run --json")

    assert {"inserted": 0, "updated": 1, "deleted": 0} == preview.json["tables"]["api_keys"]
    assert "" == await refusal(sessions, key)


async def test_revoking_a_rotated_key_does_not_revoke_its_successor(
    manage: Manage, sessions: Sessions
) -> None:
    """A warning names the successor, which the operator may want to revoke too."""
    await manage(ACCOUNT)
    old = await make_key(manage)
    new = (await manage("apikey rotate 1 --confirm --quiet")).stdout.rstrip("\n")

    outcome = await manage("apikey revoke 1 --confirm")

    assert ["revoked", ""] == [await refusal(sessions, key) for key in (old, new)]
    assert "its successor is key 2, which is not revoked\n" in outcome.stderr


@pytest.mark.parametrize("which", ["2", "0", "2147483648", "99999999999", "shop_00000000", "-", ""])
async def test_an_unknown_key_is_an_error_that_suggests_the_list(
    manage: Manage, which: str
) -> None:
    """Also a number that is too large for the column."""
    outcome = await manage(["apikey", "revoke", "--confirm", "--", which])

    assert 1 == outcome.exit_code
    assert (
        f"error[apikey-not-found]: there is no API key {which!r}\n"
        "  why:  a key is identified by its number or its prefix\n"
        "  try:  python manage.py apikey list --all\n"
    ) in outcome.stderr


@ON_SQLITE
async def test_a_complete_key_is_refused_and_not_shown(manage: Manage) -> None:
    """The output and the record have only its prefix."""
    await manage(ACCOUNT)
    key = await make_key(manage)

    outcome = await manage(f"apikey revoke {key} --confirm -vv --debug --traceback")

    assert 2 == outcome.exit_code
    assert f"  try:  python manage.py apikey revoke {key[:13]} --confirm\n" in outcome.stderr
    url = manage.environ["DATABASE_URL"]
    kept = repr([query(url, f"SELECT * FROM oneoff_{name}") for name in ("runs", "audit")])
    assert key[14:] not in outcome.stdout + outcome.stderr + kept


async def test_the_hash_of_a_key_is_not_in_the_output(manage: Manage, sessions: Sessions) -> None:
    """For each command that shows keys."""
    await manage(ACCOUNT)
    await make_key(manage)
    (key,) = await stored(sessions)

    lines = ("apikey list", "apikey revoke 1 --dry-run", "apikey rotate 1 --dry-run")
    shown = [await manage(f"{line} --json -vv --debug") for line in lines]

    assert [] == [done for done in shown if key.key_hash in done.stdout + done.stderr]


@ON_SQLITE
@pytest.mark.parametrize("line", ["revoke", "rotate"])
@pytest.mark.parametrize("confirm", ["", " --confirm", " --dry-run"])
async def test_a_complete_key_is_refused_before_the_confirmation(
    manage: Manage, line: str, confirm: str
) -> None:
    """An error about the missing confirmation would make the operator type the key again."""
    await manage(ACCOUNT)
    key = await make_key(manage)

    refused = await manage(f"apikey {line} {key}{confirm}")

    assert 2 == refused.exit_code
    assert "error[whole-key]" in refused.stderr
    assert f"apikey revoke {key[:13]} --confirm\n" in refused.stderr
    assert key not in refused.stdout + refused.stderr
