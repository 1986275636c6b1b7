"""The roles of users."""

from enum import StrEnum


class Role(StrEnum):
    """The role of a user, which decides what the user may do.

    The module does not import SQLAlchemy, because commands declare arguments with this type.
    `--help` and usage errors need the choices, not the database.
    """

    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"
