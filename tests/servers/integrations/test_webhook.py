"""The webhook is told about failures, runs by policy, and writes to a protected environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oneoff.runtime.plugins import listeners
from tests.support.on_sqlite import ON_SQLITE
from tests.support.receiver import Receiver, receiving

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser

pytestmark = [ON_SQLITE, pytest.mark.usefixtures("ada")]
FAIL = "user promote eve admin --confirm"
PROMOTE = "user promote ada admin --confirm --reason 'ticket <7>'"


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    """Run the server that gets the notices."""
    with receiving() as running:
        yield running


@pytest.fixture
async def ada(make_user: MakeUser) -> None:
    """Create a user to promote."""
    await make_user("ada")


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    """Return the server, without what it has got before."""
    server.bodies.clear()
    server.status = 200
    return server


def texts(receiver: Receiver) -> list[str]:
    """Return the texts that it got."""
    return [json.loads(body)["text"] for body in receiver.bodies]


def on(receiver: Receiver, environment: str = "production", **variables: str) -> dict[str, str]:
    """Return the variables of a run in this environment that posts to the server."""
    return {
        "ONEOFF_WEBHOOK_URL": receiver.url,
        "ENVIRONMENT": environment,
        **variables,
    }


async def test_a_write_in_production_is_posted_once(manage: Manage, receiver: Receiver) -> None:
    """The whole text: where, what, its message, who and why. Slack's signs are escaped."""
    finished = await manage(PROMOTE, environ=on(receiver))

    assert finished.outcome is not None
    (text,) = texts(receiver)
    assert [
        "shop in production: user promote succeeded, rows: 1",
        "ada is now admin (was user)",
        "by tester (setting)",
        f"run {finished.outcome.run_id}; reason ticket &lt;7&gt;",
    ] == text.splitlines()
    assert "application/json" == receiver.headers[-1]["content-type"]
    assert receiver.url not in finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("line", "where", "first_lines"),
    [
        ("user list", "production", []),
        (f"{PROMOTE} --dry-run", "production", []),
        (f"{FAIL} --dry-run", "production", []),
        (PROMOTE, "test", []),
        (PROMOTE, "production: failures,policy", []),
        (FAIL, "test", ["shop in test: user promote failed, exit code 1"]),
        (FAIL, "test: writes", []),
        (
            "db reset --confirm=x@production",
            "production: policy",
            ["shop in production: db reset refused, exit code 77"],
        ),
        ("user promote ada admin", "production", []),
    ],
    ids=[
        "a reader",
        "a dry run",
        "a dry run that fails",
        "a write where nothing is protected",
        "a write that is not wanted",
        "a failure",
        "a failure that is not wanted",
        "a refusal by policy",
        "a missing confirmation",
    ],
)
async def test_other_runs_are_posted_by_their_kind(
    manage: Manage,
    receiver: Receiver,
    line: str,
    where: str,
    first_lines: list[str],
) -> None:
    """ONEOFF_WEBHOOK_RUNS names the kinds; by default all of them."""
    environment, _, runs = where.partition(": ")

    await manage(line, environ=on(receiver, environment, ONEOFF_WEBHOOK_RUNS=runs))

    assert first_lines == [text.partition("\n")[0] for text in texts(receiver)]


async def test_a_check_that_finds_something_is_no_failure(
    manage: Manage, receiver: Receiver, tmp_path: Path
) -> None:
    """Exit code 3 answers a question."""
    new = f"sqlite:///{tmp_path}/new.sqlite3"

    finished = await manage("migrate --check", environ=on(receiver, "test", DATABASE_URL=new))

    assert (3, []) == (finished.exit_code, texts(receiver))


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_an_answer_that_is_no_success_is_a_warning(
    manage: Manage, receiver: Receiver, status: int
) -> None:
    """A redirect too: urllib would follow it without the text. The run stays done."""
    receiver.status = status

    finished = await manage(f"{PROMOTE} --json", environ=on(receiver))

    assert (0, 1, 1) == (finished.exit_code, finished.rows, len(receiver.bodies))
    assert (
        "the listener 'webhook' of oneoff 0.1.0 failed: "
        f"the webhook answered with the status {status}" == finished.json["warnings"][-1]
    )


async def test_a_server_that_is_down_is_a_warning(manage: Manage, receiver: Receiver) -> None:
    """The warning does not contain the URL, which is a secret."""
    url = "http://127.0.0.1:1/services/T0AB/B1CD/x7Kq9ZpLw2"

    finished = await manage(PROMOTE, environ=on(receiver, ONEOFF_WEBHOOK_URL=url))

    assert (0, 1) == (finished.exit_code, finished.rows)
    assert "the webhook can't be reached: [Errno 111] Connection refused" in finished.stderr
    assert "x7Kq9ZpLw2" not in finished.stderr


async def test_no_run_waits_for_a_server_that_does_not_answer(
    manage: Manage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code stays 0."""
    monkeypatch.setattr(listeners, "WAIT", 0.1)
    receiver.answering.clear()

    finished = await manage(PROMOTE, environ=on(receiver))

    receiver.answering.set()
    assert 0 == finished.exit_code
    assert "the listener 'webhook' of oneoff 0.1.0 did not finish in time" in finished.stderr


async def test_the_url_is_masked_in_the_settings(manage: Manage, receiver: Receiver) -> None:
    """Whoever has it can post."""
    finished = await manage("config show --json", environ=on(receiver, "test"))

    assert 0 == finished.exit_code
    assert "x7Kq9ZpLw2" not in finished.stdout + finished.stderr
    assert '"name": "ONEOFF_WEBHOOK_URL", "value": "***"' in finished.stdout
