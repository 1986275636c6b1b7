"""Post notices about runs to a webhook in the form of Slack, which Mattermost accepts too.

The listener is registered by the entry points of oneoff's own wheel. ONEOFF_WEBHOOK_URL turns it
on. It runs in a thread, beside or after the run: see `oneoff.runtime.plugins.listeners`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from oneoff.core.errors import ExitCode, Unavailable
from oneoff.core.outcome import Status
from oneoff.core.policy import Access, Confirm, Mode

if TYPE_CHECKING:
    from oneoff.config.settings import Config
    from oneoff.core.events import AnyEvent, Listener, RunEnded

TIMEOUT = 3.0
"""Seconds for each answer of the server; less than a run waits for its listeners."""
_UNCONFIRMED = ("confirmation-required", "confirmation-mismatch", "terminal-required")
"""Codes of refusals after which the operator only has to repeat the command line."""
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def listener(config: Config) -> Listener | None:
    """Return the listener, if ONEOFF_WEBHOOK_URL is set."""
    if not config.webhook_url:
        return None
    return partial(_notify, config.webhook_url, config.webhook_runs)


def _notify(url: str, wanted: frozenset[str], event: AnyEvent) -> None:
    from oneoff.core.events import RunEnded  # takes 4 ms, also in runs without a listener

    if isinstance(event, RunEnded) and wanted & set(_kinds(event)):
        _post(url, _text(event))


def _kinds(event: RunEnded) -> list[str]:
    """Return the choices of ONEOFF_WEBHOOK_RUNS that this run belongs to; none for a dry run."""
    if event.run.dry_run:
        return []
    kinds = []
    writes = event.access is Access.WRITE and event.mode is Mode.COMMIT
    if event.status is Status.FAILED and event.exit_code != ExitCode.FINDINGS:
        kinds.append("failures")
    if event.status is Status.REFUSED:
        if event.error not in _UNCONFIRMED:
            kinds.append("policy")
    elif writes and (event.break_glass or event.approval or event.confirm is Confirm.TYPE_NAME):
        kinds.append("policy")
    if writes and event.run.protected and event.status is Status.SUCCEEDED:
        kinds.append("writes")
    return kinds


def _text(event: RunEnded) -> str:
    """Return the notice: what happened where, its message, and who did it why."""
    run = event.run
    how = event.status.value + (f", rows: {event.rows}" if event.rows else "")
    how += f", exit code {event.exit_code}" if event.exit_code else ""
    error = f"{event.error}: " if event.error else ""
    notes = {
        "run": run.id,
        "reason": run.reason,
        "ticket": run.ticket,
        "approval": event.approval,
        "break-glass": "yes" if event.break_glass else "",
    }
    lines = (
        f"{event.project} in {run.environment}: {run.command} {how}",
        f"{error}{event.message}",
        f"by {run.operator.name} ({run.operator.known_from})",
        "; ".join(f"{name} {text}" for name, text in notes.items() if text),
    )
    text = "\n".join(filter(None, lines))
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def _post(url: str, text: str) -> None:
    """Post a text.

    Raises:
        Unavailable: The server can't be reached, or did not accept the text.
    """
    # Imported at the first notice: it takes 30 ms.
    import json
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """Take a redirect as an error: urllib would follow it without the text."""

        def redirect_request(self, *_: object, **__: object) -> None:
            return None

    body = json.dumps({"text": text}).encode()
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
    try:
        with build_opener(NoRedirect).open(request, timeout=TIMEOUT):
            pass
    except HTTPError as exc:
        exc.close()
        raise Unavailable(f"the webhook answered with the status {exc.code}") from None
    except OSError as exc:
        reason = getattr(exc, "reason", exc)
        raise Unavailable(f"the webhook can't be reached: {reason}") from None
