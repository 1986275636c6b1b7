"""The pass through a maintenance window: a header that lets an operator look behind it.

It is made of the window's id and a signature by SECRET_KEY, so nothing has to be stored, every
process can check it without asking anybody, and it dies with its window.
"""

from __future__ import annotations

import hashlib
import hmac

_PURPOSE = b"oneoff maintenance pass "  # the key may sign other things elsewhere


def make_pass(secret_key: str, window_id: str) -> str:
    """Return the pass through one window: `<window id>.<64 hex digits>`."""
    message = _PURPOSE + window_id.encode()
    return f"{window_id}.{hmac.new(secret_key.encode(), message, hashlib.sha256).hexdigest()}"


def is_pass(secret_key: str, window_id: str, given: bytes) -> bool:
    """Return whether this is the pass through this window; takes the same time either way.

    Args:
        secret_key: Empty if there is none; then nothing is a pass.
        window_id: Of the window that is open now.
        given: What a client sent.
    """
    if not secret_key:
        return False
    return hmac.compare_digest(make_pass(secret_key, window_id).encode(), given)
