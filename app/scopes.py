"""What an API key may be used for.

The module is light, without SQLAlchemy, because commands name scopes in their options.
"""

from __future__ import annotations

from enum import StrEnum

from app.roles import Role


class Scope(StrEnum):
    """One thing that a key allows its holder."""

    READ = "read"
    """Look at things."""
    WRITE = "write"
    """Change things."""
    ADMIN = "admin"
    """Manage users and keys."""


def allowed(role: Role | None) -> frozenset[Scope]:
    """Return the scopes that keys of this owner can have.

    A key of a user never allows more than the user's role does. A service account has no role
    (None): its scopes are all that limits it.
    """
    if role in (None, Role.ADMIN):
        return frozenset(Scope)
    return frozenset({Scope.READ, Scope.WRITE})


def as_text(scopes: frozenset[Scope]) -> str:
    """Return scopes as they are stored and shown: "read write", in the order of `Scope`."""
    return " ".join(scope.value for scope in Scope if scope in scopes)


def from_text(text: str) -> frozenset[Scope]:
    """Return the scopes of a stored text; one that is not known any more allows nothing."""
    words = set(text.split())
    return frozenset(scope for scope in Scope if scope.value in words)
