"""Read MAIL_URL: a folder, or a mail server."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

PORTS = {"smtp": 587, "smtps": 465}
"""The port of a server whose URL names none, by scheme."""


def is_mail_url(url: str) -> bool:
    """Return whether `app.mailer.make_mailer` takes this."""
    scheme, _, folder = url.partition(":")
    return bool(folder.strip("/")) if scheme == "file" else mail_server(url) is not None


def mail_server(url: str) -> SplitResult | None:
    """Return the parts of a mail server's URL; None if it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its own message may hold a part of the password
        return None
    return parts if usable else None
