"""Parse MAIL_URL, which names a folder or a mail server."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

PORTS = {"smtp": 587, "smtps": 465}
"""The default port of each scheme."""


def is_mail_url(url: str) -> bool:
    """Return whether `app.mailer.make_mailer` accepts this URL."""
    scheme, _, folder = url.partition(":")
    return bool(folder.strip("/")) if scheme == "file" else mail_server(url) is not None


def mail_server(url: str) -> SplitResult | None:
    """Return the parts of the URL of a mail server; None if it is no such URL."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # not passed on: its message can contain a part of the password
        return None
    return parts if usable else None
