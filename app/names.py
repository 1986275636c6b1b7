"""Bring usernames, names of service accounts and emails to the form in which they are stored.

Every look-up uses the same form, so one person is found by each spelling of a name or address.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress

LONGEST = 254
"""Characters of the longest name that is stored, as in the column `users.email`."""


def normal_name(text: str) -> str:
    """Return a username or the name of a service account as it is stored."""
    # NFKC also converts full-width letters, which some keyboards send, to ASCII.
    return unicodedata.normalize("NFKC", text).strip().lower()


def normal_email(text: str) -> str:
    """Return an email as it is stored: lower case, and the domain in Unicode, not in Punycode.

    Raises:
        EmailNotValidError: It is not an address. Only the syntax is checked.
    """
    from email_validator import validate_email

    found = validate_email(text.strip(), check_deliverability=False)
    return unicodedata.normalize("NFC", found.normalized.lower())


def lookup_form(text: str) -> str | None:
    """Return a username or email as it would be stored; None if no stored one can be equal.

    The database never gets text that it can't store, such as a NUL or a lone surrogate.
    """
    from email_validator import EmailNotValidError

    name = normal_name(text)
    if not name or len(name) > LONGEST or not name.isprintable():
        return None
    if "@" in name:
        # An import can store addresses that the validator refuses, such as ada@shop.local.
        with suppress(EmailNotValidError):
            return normal_email(text)
    return name
