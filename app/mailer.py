"""Send mail: by SMTP, or into a folder where developers and tests read it."""

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
"""Seconds a mail server has for each answer."""


class Mail(NamedTuple):
    """One mail to one person.

    Attributes:
        name: What it is, for the name of a file: "welcome-3".
        to: The address.
        subject: One line.
        text: Plain text.
    """

    name: str
    to: str
    subject: str
    text: str

    def message(self, sender: str) -> EmailMessage:
        """Return it as it is sent."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, self.to, self.subject
        message.set_content(self.text)
        return message


class Mailer(Protocol):
    """What a task sends mail with."""

    async def send(self, mail: Mail) -> None:
        """Hand a mail over for delivery.

        Raises:
            Unavailable: The mail server can't be reached.
            TemporaryError: It takes no mail now.
            ConfigurationError: It refuses the login.
        """
        ...


class FileMailer:
    """Writes each mail to a file, `NAME.eml`; a second one of the same name replaces it.

    Args:
        folder: Made when the first mail is sent.
        sender: The address in From.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        self.folder, self.sender = folder, sender

    async def send(self, mail: Mail) -> None:
        """Write the mail beside its place, then move it there."""
        await asyncio.to_thread(self._write, mail)

    def _write(self, mail: Mail) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{mail.name}.eml"
        half = target.with_suffix(".part")
        half.write_bytes(mail.message(self.sender).as_bytes())
        half.replace(target)


class SMTPMailer:
    """Hands each mail to a server, on a connection of its own.

    Args:
        url: `smtp://` encrypts by STARTTLS where the server offers it, and sends a password only
            then; `smtps://` is encrypted from the start.
        sender: The address in From, and of the envelope.
    """

    def __init__(self, url: SplitResult, sender: str) -> None:
        self.host, self.port = url.hostname or "", url.port or PORTS[url.scheme]
        self.user, self._password = unquote(url.username or ""), unquote(url.password or "")
        self.tls, self.sender = url.scheme == "smtps", sender

    async def send(self, mail: Mail) -> None:
        """Deliver the mail in a thread: the library of Python blocks."""
        try:
            await asyncio.to_thread(self._deliver, mail)
        except smtplib.SMTPAuthenticationError as exc:
            raise ConfigurationError(
                f"the mail server {self._server} refuses the login",
                try_="correct user and password in MAIL_URL",
                code="bad-mail-login",
            ) from exc
        except smtplib.SMTPException as exc:
            raise TemporaryError(
                f"the mail server {self._server} did not take a mail: {_reason(exc)}",
                code="mail-not-taken",
            ) from exc
        except OSError as exc:
            raise Unavailable(
                f"the mail server {self._server} can't be reached: {exc}",
                try_="look at its address in MAIL_URL, and whether it runs",
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
    """Sends nothing: for runs that must not change anything."""

    async def send(self, mail: Mail) -> None:
        """Leave it."""


@asynccontextmanager
async def open_mailer(settings: Settings, mode: Mode) -> AsyncIterator[Mailer]:
    """Give commands the mailer of the settings."""
    if mode is not Mode.COMMIT:
        yield NoMailer()
        return
    yield make_mailer(settings.mail_url.get_secret_value(), settings.mail_from, ROOT)


def make_mailer(url: str, sender: str, root: Path) -> Mailer:
    """Return what MAIL_URL asks for.

    Args:
        url: `file:FOLDER`, `smtp://...` or `smtps://...`.
        sender: MAIL_FROM.
        root: Where a relative folder begins.

    Raises:
        ConfigurationError: It is none of these; the message never holds the password.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest.strip("/"):
        return FileMailer(root / rest, sender)
    parts = mail_server(url)
    if parts is None:
        raise ConfigurationError(
            "MAIL_URL can't be used: it is neither file:FOLDER nor smtp://user:password@host:587",
            try_=("MAIL_URL=file:outbox", "percent-encode what is special in a password"),
            code="bad-mail-url",
        )
    return SMTPMailer(parts, sender)


def _reason(exc: smtplib.SMTPException) -> str:
    if isinstance(exc, smtplib.SMTPResponseException):
        return f"{exc.smtp_code}"
    return type(exc).__name__
