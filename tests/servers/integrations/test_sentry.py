"""Sentry gets each unexpected error exactly once, without secrets, and no expected error."""

from __future__ import annotations

import gzip
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
import sentry_sdk
import structlog
import uvicorn
from arq.connections import ArqRedis
from arq.worker import Worker, func

from oneoff import Config, DataError, Project, Unavailable, load_config
from oneoff.integrations.arq import bind_job
from oneoff.integrations.asgi import RequestIdMiddleware
from oneoff.integrations.error_events import report_errors
from oneoff.integrations.process_logs import logging_to
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor
from tests.support.on_sqlite import ON_SQLITE
from tests.support.plugin import installed_plugin
from tests.support.receiver import Receiver, receiving

if TYPE_CHECKING:
    from oneoff.testing import Manage

ROOT = Path(__file__).parents[3]
SECRET = "s3cr3t-Passw0rd-77"  # noqa: S105 - must not arrive
COMMAND = '''
from oneoff import Argument, BaseCommand, CommandError, Result, Unavailable


class Explode(BaseCommand):
    """Fail in one of several ways."""

    examples = ("explode bug",)

    how: str = Argument(help="How.")

    async def handle(self) -> Result:
        import os

        password = os.environ["DB_PASSWORD"]
        if self.how == "bug":
            raise ValueError("login failed with " + password)
        if self.how == "expected":
            raise CommandError("user not found")
        if self.how == "outage":
            raise Unavailable("the mail server can't be reached")
        return Result.unchanged("fine")
'''


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    """Run the server that gets the errors."""
    with receiving() as running:
        yield running


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    """Return the server, without what it has got before."""
    server.bodies.clear()
    server.headers.clear()
    return server


@pytest.fixture
def explode(manage: Manage, receiver: Receiver, tmp_path: Path) -> Iterator[Manage]:
    """Return a project with the command `explode`, whose errors go to the server."""
    manage.environ |= {"SENTRY_DSN": dsn(receiver), "DB_PASSWORD": SECRET}
    files = {"acme_cmds/explode.py": COMMAND}
    points = "[oneoff.commands]\nx = acme_cmds\n"
    with installed_plugin(tmp_path / "site", points, files):
        yield manage


def dsn(receiver: Receiver) -> str:
    """Return a DSN that leads to the server."""
    return f"http://abcdef0123456789@127.0.0.1:{receiver.port}/1"


def errors(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the errors that arrived, each as Sentry's JSON."""
    found = []
    for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
        text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        assert SECRET not in text.decode()
        _, _, payload = text.decode().splitlines()
        found.append(json.loads(payload))
    return found


def texts(error: dict[str, Any]) -> list[str]:
    """Return type and text of its exceptions."""
    return [f"{one['type']}: {one['value']}" for one in error["exception"]["values"]]


@ON_SQLITE
async def test_a_bug_in_a_command_is_sent_once_with_its_run(
    explode: Manage, receiver: Receiver
) -> None:
    """Tags name the run. There are no local variables, and the secret in the text is masked."""
    finished = await explode("explode bug")

    (error,) = errors(receiver)
    assert finished.outcome is not None
    assert {
        "run_id": finished.outcome.run_id,
        "command": "explode",
        "operator": "tester",
        "dry_run": "False",
        "project": "shop",
    } == error["tags"]
    assert ("test", ["ValueError: login failed with ***"]) == (error["environment"], texts(error))
    frames = error["exception"]["values"][0]["stacktrace"]["frames"]
    assert "handle" == frames[-1]["function"]
    assert [] == [frame for frame in frames if "vars" in frame]
    assert (1, "") == (finished.exit_code, finished.stdout)
    assert "listener" not in finished.stderr


@ON_SQLITE
@pytest.mark.parametrize(
    "line", ["explode fine", "explode expected", "explode outage", "explode", "user promote x y"]
)
async def test_expected_errors_are_not_sent(explode: Manage, receiver: Receiver, line: str) -> None:
    """Nor are usage errors and refusals."""
    await explode(line)

    assert [] == receiver.bodies


@ON_SQLITE
@pytest.mark.parametrize("value", ["sentry.example.com/1", "https://key@sentry.example.com"])
async def test_a_value_that_is_no_dsn_is_a_warning(manage: Manage, value: str) -> None:
    """Runs do their work."""
    finished = await manage("user list", environ={"SENTRY_DSN": value})

    assert 0 == finished.exit_code
    problem = "was not started: SENTRY_DSN is not like https://KEY@HOST/PROJECT"
    assert f"the listener 'sentry' of oneoff 0.1.0 {problem}" in finished.stderr


@ON_SQLITE
async def test_a_missing_sdk_is_a_warning_that_names_the_extra(
    explode: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown before an error is lost."""
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    finished = await explode("explode fine")

    missing = "sentry-sdk is not installed: pip install 'oneoff[sentry]'"
    assert 0 == finished.exit_code
    assert f"was not started: SENTRY_DSN is set, but {missing}" in finished.stderr


# --- web and worker ------------------------------------------------------------------------------


@contextmanager
def process(service: str, receiver: Receiver, folder: Path) -> Iterator[Config]:
    """Log as a web process or worker does, and wait for the listeners at the end."""
    environ = {"SENTRY_DSN": dsn(receiver), "DB_PASSWORD": SECRET, "ENVIRONMENT": "test"}
    config = load_config(folder, Project("shop"), {**environ, "DATABASE_URL": "sqlite:///x"})
    redactor = Redactor(config.environ)
    logs = Logs(Terminal(None, None, io.StringIO(), {}), redactor, "info", service=service)
    with logging_to(logs):
        listeners = report_errors(logs, config, redactor)
        yield config
        assert listeners is not None
        listeners.wait()


async def web_app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer, or fail as the path says."""
    if scope["path"] == "/bug":
        try:
            raise ValueError("no such key: " + SECRET)
        except ValueError:
            logging.getLogger("shop").exception("first the application logs it")
            raise
    if scope["path"] == "/outage":
        raise Unavailable("the database can't be reached")
    if scope["path"] == "/input":
        raise DataError("not an address")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application with uvicorn."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    await server.shutdown()


async def test_a_bug_in_a_request_is_sent_once_with_its_request(
    receiver: Receiver, tmp_path: Path
) -> None:
    """Although application and server both log it. Expected errors are not sent."""
    with process("web", receiver, tmp_path):
        async with serving(RequestIdMiddleware(web_app)) as client:
            for path in ("/", "/outage", "/input", "/bug"):
                await client.get(path, headers={"X-Request-ID": "q-7"})

    (error,) = errors(receiver)
    assert {"service": "web", "request_id": "q-7", "logger": "shop"} == error["tags"]
    assert ["ValueError: no such key: ***"] == texts(error)


async def crash() -> None:
    """Fail as a job with a bug does."""
    raise ValueError("no such key: " + SECRET)


async def outage() -> None:
    """Fail as a job without its database does."""
    raise Unavailable("the database can't be reached")


async def test_a_bug_in_a_job_is_sent_once_with_its_job(
    redis_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    """Expected errors are not sent."""

    async def fail(_ctx: Any, how: str) -> None:
        await {"crash": crash, "outage": outage}[how]()

    with process("worker", receiver, tmp_path):
        async with ArqRedis.from_url(redis_url) as pool:
            for how in ("outage", "crash"):
                await pool.enqueue_job("fail", how, _job_id=how)
            worker = Worker(
                [func(cast("Any", fail), name="fail")],
                redis_pool=pool,
                burst=True,
                handle_signals=False,
                poll_delay=0.01,
                on_job_start=bind_job,
            )
            await worker.main()

    (error,) = errors(receiver)
    tags = {"service": "worker", "job_id": "crash", "job_try": "1", "logger": "arq.worker"}
    assert tags == error["tags"]


def test_a_bug_in_a_thread_of_a_process_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    """And one that the application logs with structlog."""
    with process("web", receiver, tmp_path):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        try:
            int("x")
        except ValueError:
            structlog.get_logger().exception("lookup.failed", user=7)

    first, second = errors(receiver)
    assert ["ZeroDivisionError: division by zero"] == texts(first)
    assert ["ValueError: invalid literal for int() with base 10: 'x'"] == texts(second)
    assert [{"service": "web", "logger": "threading"}, {"service": "web"}] == [
        first["tags"],
        second["tags"],
    ]


def test_an_application_that_uses_sentry_itself_gets_no_error_twice(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own integrations see the errors of its requests and jobs."""
    monkeypatch.setattr(sentry_sdk, "is_initialized", lambda: True)
    with process("web", receiver, tmp_path):
        logging.getLogger("shop").error("failed", exc_info=ValueError("bug"))

    assert [] == receiver.bodies


def test_the_crash_of_a_process_is_sent_before_it_ends(receiver: Receiver, tmp_path: Path) -> None:
    """`configure_logging` is enough, and the end of the process waits."""
    program = (
        "from oneoff.integrations.process_logs import configure_logging\n"
        "configure_logging('worker')\nraise ValueError('crashed')"
    )
    environ = {"SENTRY_DSN": dsn(receiver), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, check=False
    )

    assert 1 == done.returncode
    (error,) = errors(receiver)
    assert (["ValueError: crashed"], {"service": "worker"}) == (texts(error), error["tags"])
