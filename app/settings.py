"""Every setting of the application, read from the environment or `.env`, and checked at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)]


class Settings(BaseSettings):
    """What differs from one deployment to the next; `.env.example` lists it all.

    The process environment wins over `.env`. A variable set to nothing counts as not set.
    """

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env",
        env_ignore_empty=True,
        extra="ignore",  # oneoff reads its own settings from the same file
        frozen=True,
        hide_input_in_errors=True,  # a malformed DATABASE_URL still holds a password
    )

    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL or SQLite; unset: shop.sqlite3 in the project's folder",
    )
    environment: str = Field(
        default="",
        description="development, staging, production, ...; unset: development on the embedded "
        "SQLite file, production as soon as DATABASE_URL is set",
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error")
    password_min_length: int = Field(
        default=15,
        ge=8,
        le=128,
        description="shortest password accepted; NIST SP 800-63B asks for 15 where the password "
        "is the only factor, 8 where there is a second one",
    )
    api_key_max_days: int = Field(
        default=365,
        ge=1,
        le=3650,
        description="longest lifetime of an API key, in days; a key that nobody remembers ends",
    )
    mail_url: SecretStr = Field(
        default=SecretStr("file:outbox"),
        description="how mail is sent: smtp://user:password@host:587, smtps://..., or file:FOLDER",
    )
    mail_from: str = Field(
        default="shop@localhost", description="the address that mail is sent from"
    )
    database_pool_size: int = Field(
        default=5,
        ge=1,
        le=100,
        description="connections to the database that one web or worker process holds at most",
    )
