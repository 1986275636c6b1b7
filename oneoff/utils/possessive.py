"""Write patterns of groups that are repeated and never give a character back.

So a match takes linear time. Before Python 3.11.5, which Debian 12 does not have, a possessive
quantifier of a group can match too much (https://github.com/python/cpython/issues/106052). An
atomic group around the repetition is right there, but slower.
"""

from __future__ import annotations

import sys

IS_RIGHT = sys.version_info >= (3, 11, 5)


def repeated(group: str, times: str = "*") -> str:
    """Return the pattern of a group that is repeated.

    Args:
        group: The pattern in the group.
        times: `*`, `+` or `?`.
    """
    return f"(?:{group}){times}+" if IS_RIGHT else f"(?>(?:{group}){times})"
