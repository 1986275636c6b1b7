"""Send mail by SMTP, or write it to a folder for development and tests."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import SplitResult, unquote

from app.mail_url import PORTS, mail_server
from app.settings import ROOT
from oneoff import ConfigurationError, Mode, TemporaryError, Unavailable

if TYPE_CHECKING:
    from app.settings import Settings

TIMEOUT = 15.0
"""Seconds to wait for each response of a mail server."""


class Mail(NamedTuple):
    """A mail to one recipient.

    Attributes:
        name: The name of the file that `FileMailer` writes, such as "welcome-3".
        to: The address of the recipient.
        subject: One line.
        text: The body, in plain text.
    """

    name: str
    to: str
    subject: str
    text: str

    def message(self, sender: str) -> EmailMessage:
        """Return the mail as a message from this sender."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, self.to, self.subject
        message.set_content(self.text)
        return message


class Mailer(Protocol):
    """Protocol of an object that sends mail."""

    async def send(self, mail: Mail) -> None:
        """Send a mail.

        Raises:
            Unavailable: The mail server can't be reached.
            TemporaryError: The mail server did not accept the mail.
            ConfigurationError: The mail server refused the login, or offers no encryption for it.
        """
        ...


class FileMailer:
    """Write each mail to the file `NAME.eml`. A mail with the same name replaces it.

    Args:
        folder: Created when the first mail is sent.
        sender: The address in From.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        self.folder, self.sender = folder, sender

    async def send(self, mail: Mail) -> None:
        """Write the mail to a temporary file, then rename the file."""
        await asyncio.to_thread(self._write, mail)

    def _write(self, mail: Mail) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{mail.name}.eml"
        half = target.with_suffix(".part")
        half.write_bytes(mail.message(self.sender).as_bytes())
        half.replace(target)


class SMTPMailer:
    """Send each mail to a server, on a separate connection.

    Args:
        url: `smtp://` uses STARTTLS if the server offers it, and never sends a password without
            it. `smtps://` is encrypted from the start.
        sender: The address in From, and of the envelope.
    """

    def __init__(self, url: SplitResult, sender: str) -> None:
        self.host, self.port = url.hostname or "", url.port or PORTS[url.scheme]
        self.user, self._password = unquote(url.username or ""), unquote(url.password or "")
        self.tls, self.sender = url.scheme == "smtps", sender

    async def send(self, mail: Mail) -> None:
        """Send the mail in a thread, because smtplib blocks."""
        try:
            await asyncio.to_thread(self._deliver, mail)
        except smtplib.SMTPAuthenticationError as exc:
            raise ConfigurationError(
                f"the mail server {self._server} refused the login",
                try_="correct the user and the password in MAIL_URL",
                code="bad-mail-login",
            ) from exc
        except smtplib.SMTPException as exc:
            raise TemporaryError(
                f"the mail server {self._server} did not accept a mail: {_reason(exc)}",
                code="mail-not-taken",
            ) from exc
        except OSError as exc:
            raise Unavailable(
                f"the mail server {self._server} can't be reached: {exc}",
                try_="check that the server is running and that its address in MAIL_URL is correct",
                code="mail-server-unreachable",
            ) from exc

    @property
    def _server(self) -> str:
        return f"{self.host}:{self.port}"

    def _deliver(self, mail: Mail) -> None:
        context = ssl.create_default_context()
        with self._connected(context) as server:
            if not self.tls and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif self._password and not self.tls:
                raise ConfigurationError(
                    f"the mail server {self._server} offers no encryption",
                    why="the password in MAIL_URL would be sent in clear text",
                    try_="MAIL_URL=smtps://user:password@host:465",
                    code="mail-not-encrypted",
                )
            if self._password:
                server.login(self.user, self._password)
            server.send_message(mail.message(self.sender))

    def _connected(self, context: ssl.SSLContext) -> smtplib.SMTP:
        server = (
            smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=context)
            if self.tls
            else smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        )
        server.ehlo()
        return server


class NoMailer:
    """Discard mail: for dry runs and read-only runs."""

    async def send(self, mail: Mail) -> None:
        """Do nothing."""


@asynccontextmanager
async def open_mailer(settings: Settings, mode: Mode) -> AsyncIterator[Mailer]:
    """Yield the resource `mailer`. In dry runs and read-only runs it discards mail."""
    if mode is not Mode.COMMIT:
        yield NoMailer()
        return
    yield make_mailer(settings.mail_url.get_secret_value(), settings.mail_from, ROOT)


def make_mailer(url: str, sender: str, root: Path) -> Mailer:
    """Return the mailer for a MAIL_URL.

    Args:
        url: `file:FOLDER`, `smtp://...` or `smtps://...`.
        sender: MAIL_FROM.
        root: The base of a relative folder.

    Raises:
        ConfigurationError: The URL has another form; the message never contains the password.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest.strip("/"):
        return FileMailer(root / rest, sender)
    parts = mail_server(url)
    if parts is None:
        raise ConfigurationError(
            "MAIL_URL can't be used: it is neither file:FOLDER nor smtp://user:password@host:587",
            try_=("MAIL_URL=file:outbox", "percent-encode special characters in the password"),
            code="bad-mail-url",
        )
    return SMTPMailer(parts, sender)


def _reason(exc: smtplib.SMTPException) -> str:
    if isinstance(exc, smtplib.SMTPResponseException):
        return f"{exc.smtp_code}"
    return type(exc).__name__
