"""The tables of the application."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    MetaData,
    String,
    func,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from app.roles import Role

PII = {"pii": True}
"""Mark a column with personal data or a hash of a secret: `data export` needs a reason for it."""

OwnerKind = Literal["user", "service-account"]
KeyState = Literal["active", "grace", "expired", "revoked", "owner-inactive"]


class Base(DeclarativeBase):
    """The base of all models. Migrations are compared with its `metadata`."""

    # With a naming convention, a migration knows the name of each constraint and can drop it.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UTCDateTime(TypeDecorator[datetime]):
    """A time, always in UTC and always aware. SQLite does not store time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC before SQLite drops the offset."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Restore the time zone that SQLite dropped."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class User(Base):
    """A person who can sign in.

    Username and email are stored in lower case, and a CHECK enforces it. This makes them unique in
    any case.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("username = lower(username)", name="username_lower"),
        CheckConstraint("email = lower(email)", name="email_lower"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(254), unique=True, info=PII)
    role: Mapped[Role] = mapped_column(
        Enum(
            Role,
            name="role",
            native_enum=False,  # a new role needs a new CHECK, not an ALTER TYPE
            create_constraint=True,
            length=20,
            values_callable=lambda roles: [role.value for role in roles],
        ),
        server_default=Role.USER.value,
    )
    active: Mapped[bool] = mapped_column(server_default=true())
    password_hash: Mapped[str] = mapped_column(String(255), info=PII)
    # The browser's header at the last sign-in, and the language that was chosen from it.
    accept_language: Mapped[str | None] = mapped_column(String(200))
    locale: Mapped[str | None] = mapped_column(String(5))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, server_default=func.now())

    def public(self) -> dict[str, Any]:
        """Return the values that may be shown, without the hash of the password."""
        return {
            "id": self.id,
            "username": self.username,
            "email": self.email,
            "role": self.role.value,
            "active": self.active,
            "created": self.created_at.isoformat(timespec="seconds"),
        }

    def __repr__(self) -> str:
        return f"<User {self.id} {self.username}>"


class ServiceAccount(Base):
    """A program that may call the API, such as a CI job. It has API keys and no password.

    The name is stored in lower case, as the name of a user.
    """

    __tablename__ = "service_accounts"
    __table_args__ = (CheckConstraint("name = lower(name)", name="name_lower"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    description: Mapped[str] = mapped_column(String(200), server_default="")
    active: Mapped[bool] = mapped_column(server_default=true())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, server_default=func.now())

    def public(self) -> dict[str, Any]:
        """Return the values that may be shown, which is every column."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "active": self.active,
            "created": self.created_at.isoformat(timespec="seconds"),
        }

    def __repr__(self) -> str:
        return f"<ServiceAccount {self.id} {self.name}>"


class ApiKey(Base):
    """An API key of a user or of a service account. Only its hash is stored.

    A key works from `created_at` until `expires_at` or `revoked_at`, whichever is earlier, and only
    while its owner is active. `replaced_by_id` of a rotated key is its successor.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("(user_id IS NULL) <> (service_account_id IS NULL)", name="one_owner"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    service_account_id: Mapped[int | None] = mapped_column(
        ForeignKey("service_accounts.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(100), server_default="")
    prefix: Mapped[str] = mapped_column(String(32), unique=True)
    key_hash: Mapped[str] = mapped_column(String(64), info=PII)
    # Names separated by spaces, in the order of `Scope`, as in OAuth (RFC 6749, section 3.3).
    scopes: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    replaced_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("api_keys.id", ondelete="SET NULL"), unique=True
    )

    # Loaded together with the key: in async code, lazy loading on access fails.
    user: Mapped[User | None] = relationship(lazy="joined")
    service_account: Mapped[ServiceAccount | None] = relationship(lazy="joined")

    @property
    def owner(self) -> User | ServiceAccount:
        """The user or the service account that owns the key."""
        owner = self.user or self.service_account
        if owner is None:
            message = f"key {self.id} has no owner, which the table's check forbids"
            raise RuntimeError(message)
        return owner

    @property
    def owner_name(self) -> str:
        """The username of the user, or the name of the service account."""
        return self.owner.username if isinstance(self.owner, User) else self.owner.name

    @property
    def kind(self) -> OwnerKind:
        """The kind of the owner; also the name of the option, `--user` or `--service-account`."""
        return "user" if self.user else "service-account"

    def state(self, now: datetime) -> KeyState:
        """Return the state of the key; it works in the states "active" and "grace".

        "grace": the key has a successor and still works until it expires.
        """
        if self.revoked_at:
            return "revoked"
        if self.expires_at <= now:
            return "expired"
        if not self.owner.active:
            return "owner-inactive"
        return "grace" if self.replaced_by_id else "active"

    def public(self, now: datetime) -> dict[str, Any]:
        """Return the values that may be shown, the most important first, without the hash."""
        return {
            "id": self.id,
            "prefix": self.prefix,
            "owner": self.owner_name,
            "state": self.state(now),
            "expires": self.expires_at,
            "last_used": self.last_used_at,
            "scopes": self.scopes.split(),
            "name": self.name,
            "kind": self.kind,
            "created": self.created_at,
            "revoked": self.revoked_at,
            "replaced_by_id": self.replaced_by_id,
        }

    def __repr__(self) -> str:
        return f"<ApiKey {self.id} {self.prefix}>"


class RoleCount(Base):
    """The number of users with a role on a day; written by the task `refresh_report`."""

    __tablename__ = "role_counts"

    day: Mapped[date] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(20), primary_key=True)
    users: Mapped[int]


class Event(Base):
    """Something that happened to an account, such as a sign-in or a new role.

    An event has no user if its user was deleted, or if a sign-in with an unknown name was refused.
    `data cleanup` deletes old events.
    """

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    kind: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    detail: Mapped[str] = mapped_column(String(200), server_default="")


class Session(Base):
    """A sign-in of a user. The bearer of its token is that user until it expires."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True, info=PII)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)

    user: Mapped[User] = relationship(lazy="joined")

    def public(self) -> dict[str, Any]:
        """Return the values that may be shown, without the hash of the token."""
        return {
            "id": self.id,
            "user": self.user.username,
            "created": self.created_at,
            "expires": self.expires_at,
        }


class SentMail(Base):
    """A mail that was sent to a user. The primary key allows one mail of each kind."""

    __tablename__ = "sent_mails"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    sent_at: Mapped[datetime] = mapped_column(UTCDateTime)
