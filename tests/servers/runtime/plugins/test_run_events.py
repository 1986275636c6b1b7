"""A listener of a plug-in is told how each run starts and ends, and changes no run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneoff.runtime.plugins import listeners
from oneoff.testing import Manage
from tests.support.approval_project import NAME, ROOT
from tests.support.on_sqlite import ON_SQLITE
from tests.support.plugin import installed_plugin, listening

if TYPE_CHECKING:
    import pytest

    from tests.support.fixture_types import MakeUser

pytestmark = ON_SQLITE
PROMOTE = "user promote ada admin --confirm"


def names(events: list[Any]) -> list[str]:
    """Return the names of their classes."""
    return [type(event).__name__ for event in events]


async def test_a_run_that_writes_has_two_events(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """They say who ran what, by which policy, and how it ended."""
    await make_user("ada")
    with listening(tmp_path / "site") as seen:
        finished = await manage(PROMOTE)

    started, ended = seen
    assert ["RunStarted", "RunEnded"] == names(seen)
    assert finished.outcome is not None
    assert {finished.outcome.run_id} == {started.run.id, ended.run.id}
    assert ("shop", "user promote", "tester") == (
        ended.project,
        ended.run.command,
        ended.run.operator.name,
    )
    assert ("WRITE", "PROMPT", "COMMIT") == (
        started.access.name,
        started.confirm.name,
        started.mode.name,
    )
    assert ("succeeded", 0, 1, "") == (ended.status.value, ended.exit_code, ended.rows, ended.error)
    assert (0, 1, 0) == tuple(ended.tables["users"])
    steps = ["gate", "intent", "lock", "open", "handle", "commit", "close"]
    assert steps == [step.name for step in ended.steps]
    assert all(step.seconds >= 0 for step in ended.steps)


async def test_the_record_is_closed_before_the_listeners_are_told(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """So a listener never announces what could still be rolled back."""
    await make_user("ada")
    path = manage.environ["DATABASE_URL"].removeprefix("sqlite:///")
    read = (
        f"from tests.support.plugin import newest_status as status; path = {path!r}\n"
        "    return lambda event: SEEN.append((type(event).__name__, status(path)))"
    )
    with listening(tmp_path / "site", read) as seen:
        await manage(PROMOTE)

    assert ("RunEnded", "succeeded") == seen[-1]


async def test_a_refused_run_only_ends(manage: Manage, make_user: MakeUser, tmp_path: Path) -> None:
    """Its work has never started."""
    await make_user("ada")
    with listening(tmp_path / "site") as seen:
        await manage("user promote ada admin")

    (ended,) = seen
    assert ("RunEnded", "refused", 77) == (*names(seen), ended.status.value, ended.exit_code)
    assert ["gate", "close"] == [step.name for step in ended.steps]


async def test_no_event_contains_a_secret(manage: Manage, tmp_path: Path) -> None:
    """Neither the password of a new user nor that in a message."""
    with listening(tmp_path / "site") as seen:
        await manage(
            "user create ada ada@example.com --password-stdin", stdin="correct-horse-battery-9"
        )

    assert ["RunStarted", "RunEnded"] == names(seen)
    assert "horse" not in repr(seen)
    assert "a ***" == seen[0].mask("a correct-horse-battery-9")


async def test_a_failing_listener_is_a_warning_of_a_committed_run(
    manage: Manage, make_user: MakeUser, tmp_path: Path
) -> None:
    """The work stays done, and the exit code is 0."""
    await make_user("ada")
    with listening(tmp_path / "site", "return lambda event: 1 / 0"):
        finished = await manage(f"{PROMOTE} --json")

    failed = "the listener 'trace' of acme 1.0 failed: ZeroDivisionError: division by zero"
    assert (0, 1) == (finished.exit_code, finished.rows)
    assert [failed, failed] == finished.json["warnings"][-2:]


async def test_a_run_does_not_wait_for_a_listener_that_hangs(
    manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its own exit code and a warning."""
    monkeypatch.setattr(listeners, "WAIT", 0.05)
    with listening(tmp_path / "site", "return lambda event: threading.Event().wait(30)"):
        finished = await manage("user list")

    assert 0 == finished.exit_code
    assert "the listener 'trace' of acme 1.0 did not finish in time" in finished.stderr


async def test_a_nested_run_leaves_the_waiting_to_the_outer_one(
    manage: Manage, tmp_path: Path
) -> None:
    """The listener is blocked until the nested run has returned. All events arrive."""
    body = (
        "globals()['GO'] = threading.Event()\n    return lambda e: GO.wait(30) and SEEN.append(e)"
    )
    code = "import oneoff, acme_events as a; await oneoff.call_command('user list'); a.GO.set()"
    with listening(tmp_path / "site", body) as seen:
        finished = await manage(["shell", "-c", code])

    assert 0 == finished.exit_code
    assert "did not finish in time" not in finished.stderr
    assert ["shell", "user list", "user list", "shell"] == [event.run.command for event in seen]


async def test_the_dry_run_of_an_approved_run_leaves_the_waiting_to_it(
    manage_environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the warnings about its events: nobody sees its own outcome."""
    finish, waits = listeners.Listeners.finish, []

    async def count(self: Any) -> None:
        waits.append(self)
        await finish(self)

    environ = {**manage_environ, "ENVIRONMENT": "production", "CODE_VERSION": "v1"}
    run = Manage(NAME, str(ROOT), environ)
    line, ada = "system environment set staging", {"OPERATOR": "ada"}
    asked = await run(f"approval request --reason x --json -- {line}", environ=ada)
    assert 0 == asked.exit_code, asked.stdout
    approval = asked.json["data"]["id"]
    await run(f"approval approve {approval}", environ={"OPERATOR": "bob"})
    monkeypatch.setattr(listeners.Listeners, "finish", count)
    with listening(tmp_path / "site", "return lambda event: SEEN.append(event) or 1 / 0") as seen:
        done = await run(f"{line} --approval {approval} --json", environ=ada)

    assert [True, True, False, False] == [event.run.dry_run for event in seen], done.stderr
    assert (0, 1) == (done.exit_code, len(waits))
    assert 4 == sum("ZeroDivisionError" in warning for warning in done.json["warnings"])


async def test_a_command_that_can_not_be_described_ends_with_its_own_error(
    manage: Manage, tmp_path: Path
) -> None:
    """Its `confirm_level` raises an error, in the gate and again for the event."""
    command = '''
from oneoff import BaseCommand, DataError, Result


class Bad(BaseCommand):
    """Fail before the gate."""

    examples = ("bad",)

    def confirm_level(self):
        raise DataError("no such level")

    async def handle(self) -> Result:
        return Result.unchanged("done")
'''
    points, files = "[oneoff.commands]\nx = acme_cmds\n", {"acme_cmds/bad.py": command}
    with (
        installed_plugin(tmp_path / "more", points, files, name="more"),
        listening(tmp_path / "site"),
    ):
        finished = await manage("bad --json")

    assert (65, "no such level") == (finished.exit_code, finished.json["error"]["message"])
    (warning,) = [text for text in finished.json["warnings"] if "listeners" in text]
    assert "the listeners were not told about the run: DataError: no such level" == warning
