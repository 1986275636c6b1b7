"""`telemetry check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import Access, BaseCommand, ConfigurationError, Result, Unavailable

if TYPE_CHECKING:
    from oneoff import Config


class Check(BaseCommand):
    """Send a span, and say whether the exporter accepted it."""

    access = Access.READ
    examples = ("telemetry check",)

    def handle(self, config: Config) -> Result:
        from oneoff_opentelemetry import provider
        from oneoff_opentelemetry.settings import exporter_of

        name = exporter_of(config)
        if not name:
            raise ConfigurationError(
                "OTEL_TRACES_EXPORTER is not set, so no span is sent",
                try_="OTEL_TRACES_EXPORTER=console python manage.py telemetry check",
                code="no-exporter",
            )
        if not provider.export_one(provider.exporter_named(name)):
            raise Unavailable(f"the exporter {name} did not accept a span")
        return Result.unchanged(f"the exporter {name} accepted a span")
