"""The settings of the application, read from the environment or `.env` and checked at start."""

from __future__ import annotations

import re
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.mail_url import is_mail_url

ROOT = Path(__file__).resolve().parent.parent
_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_ON_A_LAPTOP = ("", "development", "test", "ci")  # where mail may go into files unasked
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)]


class MailURL(SecretStr):
    """The value of MAIL_URL. Only its password is secret."""

    def __str__(self) -> str:
        """Return the URL with *** for the password, for `config show` and logs."""
        url = self.get_secret_value()
        if url.startswith("file:"):
            return url
        try:
            parts = urlsplit(url)
            login = f"{parts.username or ''}:***@" if parts.password else ""
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return "***"
        # In a URL of another form the password could be anywhere, so nothing of it is shown.
        usable = parts.hostname and (login or not parts.username) and "@" not in (parts.path or "")
        return f"{parts.scheme}://{login}{parts.hostname}{port}" if usable else "***"

    def __repr__(self) -> str:
        """Return the same URL, without the password."""
        return f"MailURL({str(self)!r})"


class Settings(BaseSettings):
    """The settings that differ between deployments; `.env.example` lists all of them.

    The process environment takes precedence over `.env`. An empty variable counts as not set.
    """

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env",
        env_ignore_empty=True,
        extra="ignore",  # oneoff reads its own settings from the same file
        frozen=True,
        hide_input_in_errors=True,  # a malformed DATABASE_URL can contain a password
    )

    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL or SQLite; unset: shop.sqlite3 in the project's folder",
    )
    environment: str = Field(
        default="",
        description="development, staging, production, ...; unset: development on the embedded "
        "SQLite file, production if DATABASE_URL is set",
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error")
    password_min_length: int = Field(
        default=15,
        ge=8,
        le=128,
        description="minimum length of a password; NIST SP 800-63B requires 15 if the password is "
        "the only factor, 8 if there is a second one",
    )
    api_key_max_days: int = Field(
        default=365,
        ge=1,
        le=3650,
        description="longest lifetime of an API key, in days",
    )
    mail_url: MailURL = Field(
        default=MailURL("file:outbox"),
        description="how mail is sent: smtp://user:password@host:587, smtps://..., or file:FOLDER",
    )
    mail_from: str = Field(
        default="shop@localhost", description="the address from which mail is sent"
    )
    database_pool_size: int = Field(
        default=5,
        ge=1,
        le=100,
        description="maximum number of database connections of each web or worker process",
    )
    worker_max_jobs: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="number of jobs that a worker runs at the same time; jobs that need the "
        "database wait if DATABASE_POOL_SIZE is smaller",
    )

    @field_validator("mail_url")
    @classmethod
    def _check_mail_url(cls, url: MailURL) -> MailURL:
        if not is_mail_url(url.get_secret_value()):
            message = "neither file:FOLDER nor smtp://user:password@host:587"
            raise ValueError(message)
        return url

    @model_validator(mode="after")
    def _check_mail_is_set(self) -> Self:
        if "mail_url" not in self.model_fields_set and self.environment.lower() not in _ON_A_LAPTOP:
            message = f"MAIL_URL is not set, but ENVIRONMENT is {self.environment}"
            raise ValueError(message)
        return self

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, sender: str) -> str:
        if "\n" in sender or not _ADDRESS.fullmatch(parseaddr(sender)[1]):
            message = "not an address such as shop@example.com"
            raise ValueError(message)
        return sender
