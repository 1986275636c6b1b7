"""What an API key looks like: `shop_4Tf9sKq2_<43 random characters><6 characters of checksum>`.

The beginning says what it is, so that scanners for leaked secrets can find it, and which one it
is: that part is stored and shown. The checksum tells a mistyped key from a wrong one without the
database.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from typing import NamedTuple
from zlib import crc32

from oneoff import SecretStr, UsageError

BRAND = "shop"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 8
"""47 bits: enough for keys to be told apart; nothing depends on nobody knowing it."""
SECRET_LENGTH = 43
"""The least for 256 bits: 43 x log2(62) = 256.03."""
CHECKSUM_LENGTH = 6
"""The least for the 32 bits of a CRC: 62**6 > 2**32."""

_PREFIX = re.compile(rf"{BRAND}_[0-9A-Za-z]{{{ID_LENGTH}}}")
_KEY = re.compile(rf"({_PREFIX.pattern})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")

_SOMEWHERE = re.compile(rf"(?=({_KEY.pattern}))")


class NewKey(NamedTuple):
    """A key that was just made.

    Attributes:
        text: The key itself, to be shown once.
        prefix: The part that may be stored and shown.
        digest: What is stored to check it by.
    """

    text: SecretStr
    prefix: str
    digest: str


def generate() -> NewKey:
    """Make a key of 256 random bits from the operating system's generator."""
    prefix = f"{BRAND}_{_random(ID_LENGTH)}"
    body = f"{prefix}_{_random(SECRET_LENGTH)}"
    text = body + checksum(body)
    return NewKey(SecretStr(text), prefix, digest(text))


def prefix_of(text: str) -> str | None:
    """Return the prefix of what is a whole key by its form and checksum, else None.

    A CRC-32 finds every change within 32 bits in a row, so every mistyped character and every
    two neighbours in the wrong order; of other mistakes all but one in four billion.
    """
    found = _KEY.fullmatch(text)
    body = text[:-CHECKSUM_LENGTH]
    return found[1] if found and checksum(body) == text[-CHECKSUM_LENGTH:] else None


def holds_key(text: str) -> bool:
    """Tell whether there is a whole key anywhere in a text."""
    return any(prefix_of(found[1]) for found in _SOMEWHERE.finditer(text))


def refuse_key(text: str) -> None:
    """Refuse a whole key where its number or prefix is meant.

    Raises:
        UsageError: It is one, and must not be on a command line.
    """
    if prefix := prefix_of(text):
        raise UsageError(
            "this is a whole key, and arguments are seen by everyone on the machine: revoke it",
            try_=f"python manage.py apikey revoke {prefix} --confirm",
            code="whole-key",
        )


def is_prefix(text: str) -> bool:
    """Tell whether this may be the prefix of a key."""
    return bool(_PREFIX.fullmatch(text))


def digest(text: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal.

    Slow hashes such as argon2 make guessing dear where few values are likely, as with passwords.
    Of 2**256 equally likely keys none can be guessed, and each request would pay for the slowness.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(body: str) -> str:
    """Return the CRC-32 of a key's other characters, in base 62."""
    number, digits = crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))
