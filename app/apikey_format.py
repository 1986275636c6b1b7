"""Generate and check the text of API keys.

A key is `shop_4Tf9sKq2_<43 random characters><6 characters of checksum>`. `shop_4Tf9sKq2` is its
prefix: `shop` lets scanners for leaked secrets find a key, and the id identifies it. The prefix is
stored and shown. The checksum detects a mistyped key without a query.
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
"""Characters of the id: 47 bits, enough to distinguish keys. The id is not a secret."""
SECRET_LENGTH = 43
"""Characters of the secret: the minimum for 256 bits, because 43 x log2(62) = 256.03."""
CHECKSUM_LENGTH = 6
"""Characters of the checksum: the minimum for a CRC of 32 bits, because 62**6 > 2**32."""

_PREFIX = re.compile(rf"{BRAND}_[0-9A-Za-z]{{{ID_LENGTH}}}")
_KEY = re.compile(rf"({_PREFIX.pattern})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")

# A lookahead, so that matches may overlap: a valid key can start inside an invalid one.
_SOMEWHERE = re.compile(rf"(?=({_KEY.pattern}))")


class NewKey(NamedTuple):
    """A newly generated key.

    Attributes:
        text: The key itself. Show it once and do not store it.
        prefix: The part that may be stored and shown.
        digest: The hash of the key, as `ApiKey.key_hash` stores it.
    """

    text: SecretStr
    prefix: str
    digest: str


def generate() -> NewKey:
    """Return a new key with 256 random bits from the operating system's generator."""
    prefix = f"{BRAND}_{_random(ID_LENGTH)}"
    body = f"{prefix}_{_random(SECRET_LENGTH)}"
    text = body + checksum(body)
    return NewKey(SecretStr(text), prefix, digest(text))


def prefix_of(text: str) -> str | None:
    """Return the prefix of a complete key with a valid checksum; None for any other text.

    A CRC-32 detects every change within 32 consecutive bits, so it detects each mistyped character
    and each pair of swapped neighbours. It misses one in four billion other mistakes.
    """
    found = _KEY.fullmatch(text)
    body = text[:-CHECKSUM_LENGTH]
    return found[1] if found and checksum(body) == text[-CHECKSUM_LENGTH:] else None


def holds_key(text: str) -> bool:
    """Return whether a text contains a complete key."""
    return any(prefix_of(found[1]) for found in _SOMEWHERE.finditer(text))


def refuse_key(text: str) -> None:
    """Refuse a complete key where a number or a prefix is expected.

    Raises:
        UsageError: The text is a complete key, which must not be on a command line.
    """
    if prefix := prefix_of(text):
        raise UsageError(
            "this is a complete API key, which other users of this machine can see: revoke it",
            try_=f"python manage.py apikey revoke {prefix} --confirm",
            code="whole-key",
        )


def is_prefix(text: str) -> bool:
    """Return whether a text has the form of a prefix."""
    return bool(_PREFIX.fullmatch(text))


def digest(text: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal.

    A slow hash such as argon2 protects passwords, because they can be guessed. One of 2**256
    random keys can't be guessed, and a slow hash would delay each request.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def checksum(body: str) -> str:
    """Return the CRC-32 of the rest of a key, in base 62."""
    number, digits = crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))
