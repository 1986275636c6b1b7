"""Models without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from sqlalchemy.dialects import sqlite

from app.models import User, UTCDateTime
from app.roles import Role

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def ada() -> User:
    """Return a user that is not in a database."""
    return User(
        id=1,
        username="ada",
        email="ada@example.com",
        role=Role.ADMIN,
        active=True,
        password_hash="$argon2id$secret",  # noqa: S106 - not a real hash
        created_at=NOON,
    )


def test_the_public_values_of_a_user_have_no_hash() -> None:
    """Commands and the API show only these values."""
    assert {
        "id": 1,
        "username": "ada",
        "email": "ada@example.com",
        "role": "admin",
        "active": True,
        "created": "2026-01-31T12:00:00+00:00",
    } == ada().public()


def test_repr_is_safe_to_log() -> None:
    """It contains neither the hash nor the email."""
    assert "<User 1 ada>" == repr(ada())


def test_a_time_is_stored_in_utc_and_loaded_as_aware() -> None:
    """SQLite stores no offset, so the type converts before and after."""
    column, dialect = UTCDateTime(), sqlite.dialect()
    in_paris = NOON.astimezone(timezone(timedelta(hours=1)))

    stored = column.process_bind_param(in_paris, dialect)
    loaded = column.process_result_value(datetime(2026, 1, 31, 12), dialect)  # noqa: DTZ001

    assert ("2026-01-31T12:00:00+00:00", NOON) == (stored and stored.isoformat(), loaded)
