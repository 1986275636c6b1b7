"""Read the setting of the plug-in."""

from __future__ import annotations

from oneoff import Config


def exporter_of(config: Config) -> str:
    """Return the exporter that OTEL_TRACES_EXPORTER names; empty if nothing is to be sent."""
    name = config.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return "" if name == "none" else name
