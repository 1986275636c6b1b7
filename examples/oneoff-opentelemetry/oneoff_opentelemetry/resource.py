"""The resource `tracer`: the spans that a command makes, below the step `handle` of its run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer

from oneoff import Config, Run
from oneoff_opentelemetry import provider
from oneoff_opentelemetry.settings import exporter_of


class RunTracer:
    """Makes the spans of one run.

    Args:
        tracer: The tracer; without an exporter it makes spans that are not recorded.
        run: The run, whose step `handle` is above all spans.
    """

    def __init__(self, tracer: Tracer, run: Run) -> None:
        self._tracer = tracer
        ids = provider.trace_id(run.id), provider.span_id(run.id, "handle")
        above = SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        self._above = trace.set_span_in_context(NonRecordingSpan(above))

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:
        """Return a span for a `with` block; inside of another one it is below that."""
        is_inside = trace.get_current_span().get_span_context().is_valid
        return self._tracer.start_as_current_span(
            name, context=None if is_inside else self._above, attributes=attributes
        )


@asynccontextmanager
async def open_tracer(config: Config, run: Run) -> AsyncIterator[RunTracer]:
    """Provide the tracer of a run. The listener sends its spans with those of the run."""
    name = exporter_of(config)
    traces = provider.of_exporter(name) if name else trace.NoOpTracerProvider()
    yield RunTracer(traces.get_tracer("oneoff.command"), run)
