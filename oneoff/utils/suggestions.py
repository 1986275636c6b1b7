"""Guess what the operator meant by a word that is wrong."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIMILAR = 0.7
"""From here on difflib's ratio means a slip: "promot" is "promote", "list" is not "lint"."""


def similar(word: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the known words most like this one, the best first."""
    from difflib import get_close_matches  # only errors pay for it

    return get_close_matches(word, sorted(known), n=limit, cutoff=SIMILAR)


def similar_option(spelling: str, known: Iterable[str]) -> str:
    """Return the option most like this one, or nothing."""
    # The dashes are always the same and would make any two options alike.
    found = similar(spelling.lstrip("-"), {option.lstrip("-") for option in known}, limit=1)
    return next((option for option in known if option.lstrip("-") in found), "")


def similar_names(words: Sequence[str], names: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the command names that these words may stand for, the best first.

    The words may hold arguments after the name, miss its first word, turn it around, or be in
    capital letters.
    """
    names, words = sorted(names), [word.lower() for word in words]
    said = set(words[:3])
    contained = [name for name in names if said >= set(name.split())]
    spelled = [
        name for count in (3, 2, 1) for name in similar(" ".join(words[:count]), names, limit=limit)
    ]
    verb = [name for name in names if name.endswith(f" {words[0]}")]
    return list(dict.fromkeys(contained + spelled + verb))[:limit]
