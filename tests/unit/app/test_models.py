"""The user as an object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from sqlalchemy.dialects import sqlite

from app.models import User, UTCDateTime
from app.roles import Role

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def ada() -> User:
    """Return a user who was never in a database."""
    return User(
        id=1,
        username="ada",
        email="ada@example.com",
        role=Role.ADMIN,
        active=True,
        password_hash="$argon2id$secret",  # noqa: S106 - no hash of anything
        created_at=NOON,
    )


def test_what_is_public_has_no_hash() -> None:
    """Commands and the API show this and nothing more."""
    assert {
        "id": 1,
        "username": "ada",
        "email": "ada@example.com",
        "role": "admin",
        "active": True,
        "created": "2026-01-31T12:00:00+00:00",
    } == ada().public()


def test_repr_is_safe_to_log() -> None:
    """No hash and no email in a traceback."""
    assert "<User 1 ada>" == repr(ada())


def test_an_instant_goes_to_the_database_in_utc_and_comes_back_aware() -> None:
    """SQLite keeps neither offset nor zone, so both are settled before and after."""
    column, dialect = UTCDateTime(), sqlite.dialect()
    in_paris = NOON.astimezone(timezone(timedelta(hours=1)))

    stored = column.process_bind_param(in_paris, dialect)
    loaded = column.process_result_value(datetime(2026, 1, 31, 12), dialect)  # noqa: DTZ001

    assert ("2026-01-31T12:00:00+00:00", NOON) == (stored and stored.isoformat(), loaded)
