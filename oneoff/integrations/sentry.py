"""Report unexpected errors of commands, web processes and workers to Sentry.

The listener is registered by the entry points of oneoff's own wheel. SENTRY_DSN turns it on. It
uses a client of its own, without the integrations of the SDK: they would send local variables,
headers and log lines. Every run imports this module, so the SDK is imported at the first error.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from oneoff.config.operator_identity import code_version
from oneoff.core.errors import ConfigurationError

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.events import AnyEvent, Listener, RunEnded

FLUSH = 3.0
"""Seconds for sending an error; less than a run waits for its listeners."""
_DSN = re.compile(r"https?://[^\s:/@]+(?::[^\s/@]*)?@[^\s/@]+/\S*\d")


def listener(config: Config) -> Listener | None:
    """Return the listener, if SENTRY_DSN is set.

    Raises:
        ConfigurationError: It is no DSN, or the SDK is not installed.
    """
    if not config.sentry_dsn:
        return None
    if not _DSN.fullmatch(config.sentry_dsn):
        raise ConfigurationError("SENTRY_DSN is not like https://KEY@HOST/PROJECT")
    from importlib.util import find_spec

    if find_spec("sentry_sdk") is None:
        raise ConfigurationError(
            "SENTRY_DSN is set, but sentry-sdk is not installed: pip install 'oneoff[sentry]'"
        )
    return _Reporter(config).report


class _Reporter:
    """Sends errors with one client, which is created at the first of them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client: Any = None

    def report(self, event: AnyEvent) -> None:
        """Send the exception of a run or of a process, if it is unexpected."""
        from oneoff.core.events import ProcessError, RunEnded

        if isinstance(event, RunEnded):
            if event.unexpected and event.exception is not None:
                self._send(event.exception, event.run.environment, _tags(event), event.mask)
        elif isinstance(event, ProcessError) and event.unexpected and not _reports_itself():
            tags = {**event.context, "service": event.service}
            self._send(event.exception, event.environment, tags, event.mask)

    def _send(self, error: BaseException, environment: str, tags: Any, mask: Any) -> None:
        from sentry_sdk.utils import event_from_exception

        client = self._client = self._client or self._new_client()
        mechanism = {"type": "oneoff", "handled": False}
        payload, hint = event_from_exception(
            error, client_options=client.options, mechanism=mechanism
        )
        payload |= {
            "environment": environment,
            "tags": {name: str(text) for name, text in tags.items()},
        }
        client.capture_event(payload, hint={**hint, "mask": mask})
        client.flush(timeout=FLUSH)

    def _new_client(self) -> Any:
        from sentry_sdk import Client

        return Client(
            self._config.sentry_dsn,
            release=code_version(self._config.environ, self._config.root) or None,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            before_send=lambda payload, hint: hint["mask"](payload),
        )


def _tags(event: RunEnded) -> dict[str, object]:
    return {
        "run_id": event.run.id,
        "command": event.run.command,
        "operator": event.run.operator.name,
        "dry_run": event.run.dry_run,
        "project": event.project,
    }


def _reports_itself() -> bool:
    """Return whether the application has initialised the SDK, which then sees its own errors."""
    sdk = sys.modules.get("sentry_sdk")
    return sdk is not None and sdk.is_initialized()
