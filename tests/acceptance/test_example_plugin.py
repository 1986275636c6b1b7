"""The sample plug-in, installed as a wheel: its command, its resource, and spans of a run."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.on_sqlite import ON_SQLITE
from tests.support.plugin import installed_plugin

if TYPE_CHECKING:
    from oneoff.testing import Manage
    from tests.support.fixture_types import MakeUser

pytestmark = ON_SQLITE
EXAMPLE = Path(__file__).parents[2] / "examples" / "oneoff-opentelemetry"
EXPORTER = """
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

KEPT = InMemorySpanExporter()


def exporter():
    return KEPT
"""
COMMAND = '''
from oneoff import BaseCommand, Result


class Fetch(BaseCommand):
    """Make two spans, one inside the other."""

    examples = ("fetch",)

    async def handle(self, tracer) -> Result:
        with tracer.span("rates.fetched", currency="EUR"), tracer.span("rates.parsed"):
            return Result.unchanged("fetched")
'''
POINTS = """
[opentelemetry_traces_exporter]
memory = acme_exporter:exporter
[oneoff.commands]
acme = acme_cmds
"""
STEPS = ["gate", "intent", "lock", "open", "handle", "commit", "close"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel of the example into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    words = "-m pip install --quiet --no-deps --no-build-isolation --no-index --no-cache-dir"
    subprocess.run(
        [sys.executable, *words.split(), "--target", str(folder), str(EXAMPLE)], check=True
    )
    return folder


@pytest.fixture
def plugged(wheel: Path, manage: Manage, tmp_path: Path) -> Iterator[Manage]:
    """Return the reference project with the plug-in, and with an exporter that keeps spans."""
    manage.environ["OTEL_TRACES_EXPORTER"] = "memory"
    files = {"acme_exporter.py": EXPORTER, "acme_cmds/fetch.py": COMMAND}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(wheel))
        with installed_plugin(tmp_path / "site", POINTS, files):
            yield manage
    for name in [name for name in sys.modules if name.startswith("oneoff_opentelemetry")]:
        del sys.modules[name]


def spans() -> Mapping[str, Any]:
    """Return the spans that arrived, by name."""
    kept = importlib.import_module("acme_exporter").KEPT
    return {span.name: span for span in kept.get_finished_spans()}


async def test_a_run_is_a_span_with_its_steps(plugged: Manage, make_user: MakeUser) -> None:
    """Those of `user promote`, with its id, its operator and how it ended."""
    await make_user("ada")
    importlib.import_module("acme_exporter").KEPT.clear()

    finished = await plugged("user promote ada admin --confirm")

    found = spans()
    run = found["user promote"]
    assert finished.outcome is not None
    assert {
        "oneoff.run_id": finished.outcome.run_id,
        "oneoff.project": "shop",
        "oneoff.environment": "test",
        "oneoff.operator": "tester",
        "oneoff.dry_run": False,
        "oneoff.status": "succeeded",
        "oneoff.exit_code": 0,
        "oneoff.rows": 1,
    } == dict(run.attributes)
    assert {"user promote", *STEPS} == set(found)
    assert STEPS == sorted(STEPS, key=lambda name: found[name].start_time)
    assert {run.context.span_id} == {found[step].parent.span_id for step in STEPS}
    assert run.end_time == found["close"].end_time
    assert (None, "UNSET") == (run.parent, run.status.status_code.name)


async def test_a_failed_run_is_a_failed_span(plugged: Manage) -> None:
    """With the code of the error, and the steps that were started."""
    await plugged("user promote eve admin --confirm")

    status = spans()["user promote"].status
    assert ("ERROR", "user-not-found") == (status.status_code.name, status.description)


async def test_spans_of_a_command_are_below_its_step(plugged: Manage) -> None:
    """The resource `tracer` knows the ids that the span of the run will have."""
    finished = await plugged("fetch")

    found = spans()
    outer, inner, handle = found["rates.fetched"], found["rates.parsed"], found["handle"]
    assert 0 == finished.exit_code, finished.stderr
    assert (handle.context.span_id, outer.context.span_id) == (
        outer.parent.span_id,
        inner.parent.span_id,
    )
    assert {found["fetch"].context.trace_id} == {span.context.trace_id for span in found.values()}
    assert {"currency": "EUR"} == dict(outer.attributes)


async def test_the_command_of_the_plug_in_checks_the_exporter(plugged: Manage) -> None:
    """It is listed, sends a span, and names the setting that is missing."""
    listed = await plugged("commands list")
    sent = await plugged("telemetry check")
    unset = await plugged("telemetry check", environ={"OTEL_TRACES_EXPORTER": "none"})
    wrong = await plugged("telemetry check", environ={"OTEL_TRACES_EXPORTER": "smoke"})
    info = await plugged("system info --json")

    assert "telemetry check" in listed.stdout
    assert (0, "the exporter memory accepted a span\n") == (sent.exit_code, sent.stdout)
    assert "telemetry check" in spans()
    assert 78 == unset.exit_code
    assert "'smoke' is not the name of an installed exporter" in wrong.stderr
    assert ["acme 1.0", "oneoff_opentelemetry 0.1.0"] == info.json["data"]["plugins"]


async def test_without_an_exporter_nothing_is_imported(plugged: Manage) -> None:
    """Only the listener's own module, which has nothing to do."""
    await plugged("user list", environ={"OTEL_TRACES_EXPORTER": ""})

    assert "oneoff_opentelemetry.listener" in sys.modules
    assert "oneoff_opentelemetry.provider" not in sys.modules
