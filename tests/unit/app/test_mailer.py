"""Sending mail to a file and to a server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.mailer import FileMailer, Mail, SMTPMailer, make_mailer
from oneoff import CommandError, ConfigurationError

MAIL = Mail(name="welcome-1", to="ada@example.com", subject="Wëlcome", text="Hello ada,\n")


class Server:
    """A mail server that records the lines it receives.

    Args:
        refusal: The response to a recipient; if empty, the recipient is accepted.
    """

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.heard: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        writer.write(b"220 mail\r\n")
        in_data = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.heard.append(line)
            in_data = in_data and line != "."
            if not in_data:
                writer.write(f"{self._answer(line)}\r\n".encode())
            in_data = in_data or line == "data"
            while in_data and (line := (await reader.readline()).decode().rstrip("\r\n")) != ".":
                self.heard.append(line)
            if in_data:
                writer.write(b"250 taken\r\n")
                in_data = False
        writer.close()

    def _answer(self, line: str) -> str:
        word = line.lower().partition(" ")[0]
        if word == "rcpt" and self.refusal:
            return self.refusal
        return {"data": "354 go on", "quit": "221 bye"}.get(word, "250 fine")


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    """Run a mail server; return it and its URL."""
    made = Server()
    running = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with running:
        yield made, f"smtp://127.0.0.1:{running.sockets[0].getsockname()[1]}"


async def test_a_mail_is_written_to_a_file(tmp_path: Path) -> None:
    """The folder is created; a second mail with the same name replaces the first."""
    mailer = make_mailer("file:outbox", "shop@example.com", tmp_path)

    await mailer.send(MAIL)
    await mailer.send(MAIL)

    (file,) = (tmp_path / "outbox").iterdir()
    assert "welcome-1.eml" == file.name
    assert "To: ada@example.com" in file.read_text()
    assert "From: shop@example.com" in file.read_text()


async def test_a_mail_is_sent_to_a_server(server: tuple[Server, str], tmp_path: Path) -> None:
    """The envelope has the addresses of the message."""
    made, url = server

    await make_mailer(url, "shop@example.com", tmp_path).send(MAIL)

    # Python 3.13 sends the commands in lower case.
    said = [line.lower() for line in made.heard]
    assert "rcpt to:<ada@example.com>" in said
    assert any(line.startswith("mail from:<shop@example.com>") for line in said)
    assert "Hello ada," in made.heard


async def test_a_refused_recipient_is_a_temporary_error(
    server: tuple[Server, str], tmp_path: Path
) -> None:
    """A task can try again."""
    made, url = server
    made.refusal = "450 later"

    with pytest.raises(CommandError) as caught:
        await make_mailer(url, "shop@example.com", tmp_path).send(MAIL)

    assert "mail-not-taken" == caught.value.code


async def test_no_password_is_sent_in_clear_text(
    server: tuple[Server, str], tmp_path: Path
) -> None:
    """The server offers no STARTTLS, so the mailer does not log in."""
    made, url = server
    secret = url.replace("//", "//shop:hunter2hunter2@")

    with pytest.raises(ConfigurationError) as caught:
        await make_mailer(secret, "shop@example.com", tmp_path).send(MAIL)

    assert "mail-not-encrypted" == caught.value.code
    assert "hunter2" not in f"{made.heard} {caught.value}"


async def test_an_unreachable_server_is_an_error_without_the_password(tmp_path: Path) -> None:
    """The error is `Unavailable`."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    with pytest.raises(CommandError) as caught:
        await make_mailer(f"smtp://a:hunter2hunter2@127.0.0.1:{port}", "x@y", tmp_path).send(MAIL)

    assert "mail-server-unreachable" == caught.value.code
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:outbox", FileMailer),
        ("file:/var/mail", FileMailer),
        ("smtp://mail.example:25", SMTPMailer),
        ("smtps://shop:p%40ss@mail.example", SMTPMailer),
    ],
)
def test_the_url_decides_the_kind_of_mailer(tmp_path: Path, url: str, kind: type) -> None:
    """`file:`, `smtp://` and `smtps://`."""
    assert kind is type(make_mailer(url, "shop@example.com", tmp_path))


@pytest.mark.parametrize(
    "url", ["", "outbox", "file:", "http://mail", "smtp://", "smtp://h:x/", "smtp://u:hunter2@[1"]
)
def test_any_other_url_is_refused(tmp_path: Path, url: str) -> None:
    """The error does not repeat the URL, which can contain a password."""
    with pytest.raises(ConfigurationError) as caught:
        make_mailer(url, "shop@example.com", tmp_path)

    assert "bad-mail-url" == caught.value.code
    assert "hunter2" not in str(caught.value)
