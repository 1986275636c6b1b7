"""The scopes of API keys: what a key may be used for.

The module does not import SQLAlchemy, because commands declare options with this type.
"""

from __future__ import annotations

from enum import StrEnum

from app.roles import Role


class Scope(StrEnum):
    """One permission of a key."""

    READ = "read"
    """Read data."""
    WRITE = "write"
    """Change data."""
    ADMIN = "admin"
    """Manage users and keys."""


def allowed(role: Role | None) -> frozenset[Scope]:
    """Return the scopes that the keys of an owner with this role can have.

    A user's key never allows more than the user's role. A service account has no role (None), so
    its keys can have all scopes.
    """
    if role in (None, Role.ADMIN):
        return frozenset(Scope)
    return frozenset({Scope.READ, Scope.WRITE})


def as_text(scopes: frozenset[Scope]) -> str:
    """Return scopes as they are stored and shown, such as "read write", in the order of `Scope`."""
    return " ".join(scope.value for scope in Scope if scope in scopes)


def from_text(text: str) -> frozenset[Scope]:
    """Return the scopes in a stored text, without those that no longer exist."""
    words = set(text.split())
    return frozenset(scope for scope in Scope if scope.value in words)
