"""Create the tracer provider of a process, and the ids of the spans of a run.

The span of a run is made when it has ended, but spans of its command need its id before. So the
ids follow from the id of the run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from oneoff import ConfigurationError

_chosen = threading.local()


@cache
def of_exporter(name: str) -> TracerProvider:
    """Return the provider of this process; its spans go to the exporter of this name."""
    # At its end, the process must not wait for an exporter that hangs.
    provider = TracerProvider(id_generator=_Ids(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter_named(name)))
    return provider


@cache
def exporter_named(name: str) -> SpanExporter:
    """Return the exporter of this name.

    Raises:
        ConfigurationError: No installed package has it.
    """
    found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
    if not found:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER {name!r} is not the name of an installed exporter",
            try_="pip install opentelemetry-exporter-otlp",
            code="unknown-exporter",
        )
    exporter: SpanExporter = found[0].load()()
    return exporter


def trace_id(run_id: str) -> int:
    """Return the id of the trace of a run."""
    return int.from_bytes(sha256(run_id.encode()).digest()[:16])


def span_id(run_id: str, step: str = "") -> int:
    """Return the id of the span of a run, or of one of its steps."""
    return int.from_bytes(sha256(f"{run_id}/{step}".encode()).digest()[:8])


@contextmanager
def ids_of(run_id: str, *, step: str = "", of_trace: bool = True) -> Iterator[None]:
    """Give the span that the block starts in this thread the id of a run or of a step."""
    _chosen.span = span_id(run_id, step)
    _chosen.trace = trace_id(run_id) if of_trace else None
    try:
        yield
    finally:
        _chosen.span = _chosen.trace = None


class _Ids(RandomIdGenerator):
    """Returns the ids that `ids_of` has chosen, otherwise random ones."""

    def generate_span_id(self) -> int:
        return getattr(_chosen, "span", None) or super().generate_span_id()

    def generate_trace_id(self) -> int:
        return getattr(_chosen, "trace", None) or super().generate_trace_id()


def export_one(exporter: SpanExporter) -> bool:
    """Send one span at once, and return whether the exporter accepted it."""
    sent: list[SpanExportResult] = []

    class Direct(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            sent.append(exporter.export([span]))

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Direct(exporter))
    provider.get_tracer("oneoff.command").start_span("telemetry check").end()
    return sent == [SpanExportResult.SUCCESS]
