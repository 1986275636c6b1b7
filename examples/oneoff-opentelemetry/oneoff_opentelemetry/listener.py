"""Make a span for each run and for each of its steps when the run has ended.

Every run imports this module, so OpenTelemetry is imported only when there is an exporter.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from oneoff import AnyEvent, Config, Listener, RunEnded
from oneoff_opentelemetry.settings import exporter_of

if TYPE_CHECKING:
    from datetime import datetime

FLUSH_MS = 3000
"""Milliseconds for sending the spans; less than a run waits for its listeners."""
_DONE = ("succeeded", "unchanged")


def listener(config: Config) -> Listener | None:
    """Return the listener, if OTEL_TRACES_EXPORTER names an exporter."""
    name = exporter_of(config)
    return partial(_trace, name) if name else None


def _trace(exporter: str, event: AnyEvent) -> None:
    if not isinstance(event, RunEnded):
        return
    from opentelemetry import trace

    from oneoff_opentelemetry import provider

    traces = provider.of_exporter(exporter)
    tracer = traces.get_tracer("oneoff")
    times = [(step.name, _ns(step.started_at), round(step.seconds * 1e9)) for step in event.steps]
    with provider.ids_of(event.run.id):
        span = tracer.start_span(
            event.run.command,
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            start_time=times[0][1],
            attributes=_attributes(event),
        )
    below = trace.set_span_in_context(span)
    for name, start, length in times:
        with provider.ids_of(event.run.id, step=name, of_trace=False):
            tracer.start_span(name, context=below, start_time=start).end(start + length)
    if event.status.value not in _DONE:
        span.set_status(trace.StatusCode.ERROR, event.error)
    _, start, length = times[-1]
    span.end(start + length)
    traces.force_flush(FLUSH_MS)


def _attributes(event: RunEnded) -> dict[str, str | int | bool]:
    run = event.run
    return {
        "oneoff.run_id": run.id,
        "oneoff.project": event.project,
        "oneoff.environment": run.environment,
        "oneoff.operator": run.operator.name,
        "oneoff.dry_run": run.dry_run,
        "oneoff.status": event.status.value,
        "oneoff.exit_code": event.exit_code,
        "oneoff.rows": event.rows,
    }


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1e9)
