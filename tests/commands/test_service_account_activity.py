"""`service-account deactivate` and `service-account activate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.keys import ACCOUNT, make_key, refusal

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser, Sessions


async def test_deactivating_an_account_revokes_its_keys_permanently(
    manage: Manage, make_user: MakeUser, sessions: Sessions
) -> None:
    """Rotated keys too, but not those of others. They stay revoked after `activate`."""
    await make_user("ada")
    await manage(ACCOUNT)
    other = await make_key(manage, "--user ada")
    keys = [await make_key(manage), await make_key(manage)]
    keys.append((await manage("apikey rotate 2 --confirm --quiet")).stdout.rstrip("\n"))

    outcome = await manage("service-account deactivate CI --confirm")
    activated = await manage("service-account activate ci --confirm")

    assert (0, 4, "ci is now inactive; 3 keys revoked\n") == (
        outcome.exit_code,
        outcome.rows,
        outcome.stdout,
    )
    assert "ci is now active\n" == activated.stdout
    assert ["revoked"] * 3 == [await refusal(sessions, key) for key in keys]
    assert "" == await refusal(sessions, other)


async def test_a_dry_run_counts_the_keys_and_revokes_none(
    manage: Manage, sessions: Sessions
) -> None:
    """It reports the same rows as the run that commits."""
    await manage(ACCOUNT)
    key = await make_key(manage)

    preview = await manage("service-account deactivate ci --dry-run --json")
    before = await refusal(sessions, key)
    real = await manage("service-account deactivate ci --confirm --json")

    assert ("", 2) == (before, preview.rows)
    assert {"inserted": 0, "updated": 1, "deleted": 0} == preview.json["tables"]["api_keys"]
    assert preview.json["tables"] == real.json["tables"]


async def test_activating_or_deactivating_twice_writes_once(manage: Manage) -> None:
    """The second run reports the state and changes no row."""
    await manage(ACCOUNT)
    lines = [
        f"service-account {verb} ci --confirm"
        for verb in ("activate", "deactivate", "deactivate", "activate", "activate")
    ]

    said = [(outcome.rows, outcome.stdout) for outcome in [await manage(line) for line in lines]]

    assert [
        (0, "ci is already active\n"),
        (1, "ci is now inactive; 0 keys revoked\n"),
        (0, "ci is already inactive\n"),
        (1, "ci is now active\n"),
        (0, "ci is already active\n"),
    ] == said


async def test_an_unknown_account_gets_a_suggestion(manage: Manage) -> None:
    """The error suggests a similar name, or the command that lists accounts."""
    await manage("service-account create shipping")

    slip = await manage("service-account deactivate shiping --confirm")
    unknown = await manage("apikey create --service-account zoo")

    assert (1, 1) == (slip.exit_code, unknown.exit_code)
    assert (
        "error[service-account-not-found]: there is no service account 'shiping'\n"
        "  try:  did you mean shipping?\n"
    ) in slip.stderr
    assert "  try:  python manage.py service-account list\n" in unknown.stderr
