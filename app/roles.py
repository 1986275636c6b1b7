"""The roles a user may have."""

from enum import StrEnum


class Role(StrEnum):
    """What a user may do.

    It has a module of its own, without SQLAlchemy, because commands name it in their arguments:
    `--help` and usage errors need the choices, not the database.
    """

    USER = "user"
    MODERATOR = "moderator"
    ADMIN = "admin"
