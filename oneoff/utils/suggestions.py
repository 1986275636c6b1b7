"""Suggest the words that an operator may have meant by a wrong one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIMILAR = 0.7
"""Minimum ratio of difflib for two similar words, such as "promot" and "promote"."""


def similar(word: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the known words that are most similar to a word, the best first; case is ignored."""
    from difflib import get_close_matches  # imported only for an error message

    spellings = {known_word.lower(): known_word for known_word in sorted(known)}
    found = get_close_matches(word.lower(), spellings, n=limit, cutoff=SIMILAR)
    return [spellings[name] for name in found]


def similar_option(spelling: str, known: Iterable[str]) -> str:
    """Return the option that is most similar to a spelling, or an empty text."""
    # Without the dashes, which all options share: they would make any two options similar.
    found = similar(spelling.lstrip("-"), {option.lstrip("-") for option in known}, limit=1)
    return next((option for option in known if option.lstrip("-") in found), "")


def similar_names(words: Sequence[str], names: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the command names that the words may mean, the best first.

    After the name there may be arguments. The first word may be missing, the words of the name may
    be in the wrong order, or in capital letters.
    """
    names, words = sorted(names), [word.lower() for word in words]
    first_words = set(words[:3])
    contained = [name for name in names if first_words >= set(name.split())]
    spelled = [
        name for count in (3, 2, 1) for name in similar(" ".join(words[:count]), names, limit=limit)
    ]
    verb = [name for name in names if name.endswith(f" {words[0]}")]
    return list(dict.fromkeys(contained + spelled + verb))[:limit]
