"""Long-running processes log like commands, even if their server configures `logging`."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from oneoff import ConfigurationError
from oneoff.config.operator_identity import identify
from oneoff.core.run import Run
from oneoff.integrations.process_logs import logging_to
from oneoff.runtime.logs.capture import capturing
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor

ENVIRON = {"DATABASE_URL": "postgres://shop:p4ssw0rd-x@db/shop", "SECRET_KEY": "k" * 16 + "Q" * 16}
LINES = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> io.StringIO:
    """Return a replacement for standard error, which is not a terminal."""
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Iterator[LINES]:
    """Log as a web process at level info; return a function that reads the lines."""
    terminal = Terminal(None, None, stream, {})
    with logging_to(Logs(terminal, Redactor(ENVIRON), "info", service="web")):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def configure_as_servers_do(name: str) -> None:
    """Give a logger its own handler on standard error, as uvicorn and arq do."""
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    logger = {"handlers": ["own"], "level": "INFO", "propagate": False}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"own": handler},
            "loggers": {name: logger},
        }
    )


def a_run() -> Run:
    """Return the facts of a command's run."""
    return Run(
        id="r-1",
        command="user list",
        dry_run=False,
        operator=identify({"OPERATOR": "ada"}),
        environment="test",
        reason="",
        ticket="",
        started_at=datetime.now().astimezone(),
    )


def test_lines_of_logging_and_structlog_have_the_same_fields(lines: LINES) -> None:
    """Service, level, UTC time, and bound variables such as the request id."""
    structlog.contextvars.bind_contextvars(request_id="q-1")
    try:
        structlog.get_logger().info("user.promoted", user=7)
        logging.getLogger("some.library").warning("slow: %d ms", 12)
    finally:
        structlog.contextvars.clear_contextvars()

    own, library = lines()
    for line in (own, library):
        assert ("web", "q-1") == (line["service"], line["request_id"])
        assert timedelta() == datetime.fromisoformat(line["timestamp"]).utcoffset()
    assert ("user.promoted", 7, "info") == (own["event"], own["user"], own["level"])
    assert ("slow: 12 ms", "some.library", "warning") == (
        library["event"],
        library["logger"],
        library["level"],
    )


def test_a_logger_that_a_server_configures_later_is_taken_over(
    lines: LINES, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before its first line. arq configures its loggers after it has imported the application."""
    configure_as_servers_do("a_server")

    logging.getLogger("a_server.worker").info("starting")

    assert ["starting"] == [line["event"] for line in lines()]
    assert "" == capsys.readouterr().err


def test_the_level_applies_to_logging_and_structlog(lines: LINES) -> None:
    """LOG_LEVEL is info here."""
    logging.getLogger("some.library").debug("d")
    structlog.get_logger().debug("d")
    logging.getLogger("some.library").info("i")

    assert ["i"] == [line["event"] for line in lines()]


def test_secrets_are_masked_by_value_and_by_name(lines: LINES, stream: io.StringIO) -> None:
    """In messages, fields and tracebacks. Tracebacks show no local variables."""
    log = structlog.get_logger()
    log.info("a.b", password="hunter2-hunter2", url=ENVIRON["DATABASE_URL"])  # noqa: S106
    logging.getLogger("driver").error("can't connect to %s", ENVIRON["DATABASE_URL"])
    local = "a-local-value"
    try:
        raise ValueError(ENVIRON["SECRET_KEY"])
    except ValueError:
        logging.getLogger("driver").exception("failed")
        log.exception("a.failed")

    assert 4 == len(lines())
    assert "Traceback" in lines()[2]["exception"]
    assert "Traceback" in lines()[3]["exception"]
    for secret in ("hunter2", "p4ssw0rd-x", ENVIRON["SECRET_KEY"], local):
        assert secret not in stream.getvalue()


def test_uvicorns_access_log_is_off(lines: LINES) -> None:
    """It shows the query string. The request id middleware logs one event instead."""
    logging.getLogger("uvicorn.access").info('GET /me?key=s3cret "200"')

    assert [] == lines()


def test_a_command_in_the_process_restores_its_logs(lines: LINES) -> None:
    """A worker may call commands. The lines after a command have the service again."""
    structlog.get_logger()
    terminal = Terminal(None, None, io.StringIO(), {})
    for _ in range(3):
        with capturing(Logs(terminal, Redactor({}), "error"), a_run()):
            structlog.get_logger().info("job.continued")

    structlog.get_logger().info("job.ended")

    assert ["job.continued"] * 3 + ["job.ended"] == [line["event"] for line in lines()]


def test_the_old_configuration_is_restored(stream: io.StringIO) -> None:
    """Handlers, levels, hooks and structlog are the same as before."""

    def state() -> list[object]:
        root = logging.getLogger()
        factory = logging.getLogRecordFactory()
        return [root.level, root.handlers[:], factory, sys.excepthook, structlog.is_configured()]

    before = state()
    with logging_to(Logs(Terminal(None, None, stream, {}), Redactor({}), "info", service="web")):
        assert state() != before

    assert before == state()


PROGRAM = """
import logging, sys
from oneoff.integrations.process_logs import WORKER_LOGGING, configure_logging
configure_logging("worker")
logging.getLogger("arq.worker").info("starting")
configure_logging("worker")
raise RuntimeError("postgres://a:s3cr3t-pass@h/x")
"""


def test_a_crash_is_logged_in_one_line(tmp_path: Path) -> None:
    """With the traceback, and with secrets masked."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )

    first, last = [json.loads(line) for line in done.stderr.splitlines()]
    assert ("worker", "starting") == (first["service"], first["event"])
    assert ("process.crashed", "critical") == (last["event"], last["level"])
    assert "RuntimeError: postgres://a:***@h/x" in last["exception"]
    assert 1 == done.returncode


def test_lines_of_the_application_have_the_run_of_the_command() -> None:
    """Of structlog and of logging."""
    stream = io.StringIO()
    structlog.get_logger()
    with capturing(Logs(Terminal(None, None, stream, {}), Redactor({}), "info"), a_run()):
        structlog.get_logger().info("user.listed")
        logging.getLogger("app").warning("slow")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [("r-1", "user list")] * 2 == [(line["run_id"], line["command"]) for line in lines]


def test_a_command_error_ends_the_process_with_one_line(lines: LINES) -> None:
    """Without a traceback, which would not help."""
    error = ConfigurationError("REDIS_URL is not set", try_="set it", code="redis-not-configured")

    sys.excepthook(type(error), error, None)

    (line,) = lines()
    assert ("process.ended", "critical", "redis-not-configured", "REDIS_URL is not set") == (
        line["event"],
        line["level"],
        line["error"],
        line["message"],
    )
    assert ["set it"] == line["try"]
    assert "exception" not in line


def test_info_messages_of_alembic_are_not_logged(lines: LINES) -> None:
    """Health checks load Alembic in the web process. Its warnings are logged."""
    logging.getLogger("alembic.runtime.plugins").info("setup plugin x")
    logging.getLogger("alembic.runtime.migration").warning("something is odd")

    assert ["something is odd"] == [line["event"] for line in lines()]


def test_arq_does_not_log_the_arguments_of_a_job(lines: LINES) -> None:
    """ARQ truncates arguments, and a truncated secret is not recognised."""
    given = "password='correct horse battery st..."
    logging.getLogger("arq.worker").info("%6.2fs → %s(%s)%s", 0.5, "id:greet", given, "")

    (line,) = lines()

    assert "  0.50s → id:greet(…)" == line["event"]
