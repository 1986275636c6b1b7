"""Plain English: words that are not used here any more, and the form of a command's summary.

Each rule is also tested with a text that breaks it, because a rule that finds nothing proves
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneoff.runtime.application import load_application

ROOT = Path(__file__).parents[3]
FOLDERS = ("oneoff", "app", "commands", "docs")
SUFFIXES = (".py", ".md")

INSTEAD = {
    r"has not got|have not got": "does not have",
    r"for want of": "because ... is missing",
    r"in vain": "without success",
    r"is it well|all is well|whether it is well": "is healthy",
    r"what it may do:": "effects:",
    r"so many percent": "a percentage, with its value",
    r"for ever": "indefinitely, or permanently",
    r"for real": "runs the command and rolls back",
    r"let go of|lets go|letting go": "delete, or release",
    r"tells? apart": "distinguish",
    r"tells? all about": "shows help for",
    r"whoever": "anyone who, the operator, or the caller",
    r"mends?|mended": "fix, or correct",
    r"anew": "again",
}
"""What to write instead, by the words that are not used. They are whole words, in any case."""

LONGEST_SUMMARY = 72  # characters
ARTICLES = frozenset({"A", "An", "The"})
IMPERATIVES = frozenset({"Bring", "Seed", "Process", "Pass", "Feed"})
"""Imperative verbs with an ending that other forms of a verb, and plural nouns, usually have."""


def unplain(text: str) -> Iterator[str]:
    """Yield each use of the words that have a plainer form, with its line and what to write."""
    for number, line in enumerate(text.splitlines(), start=1):
        for words, instead in INSTEAD.items():
            for found in re.finditer(rf"\b(?:{words})(?!\w)", line, re.IGNORECASE):
                yield f"{number}: {found[0]!r}; write {instead!r}"


def summary_problems(summary: str) -> Iterator[str]:
    """Yield the reasons why a text can't be the summary of a command."""
    verb = summary.partition(" ")[0]
    ends_like_another_form = verb.endswith(("s", "ing", "ed")) and verb not in IMPERATIVES
    if not verb.istitle() or verb in ARTICLES or ends_like_another_form:
        yield f"{verb!r} is not an imperative verb with a capital letter"
    if len(summary) > LONGEST_SUMMARY:
        yield f"{len(summary)} characters; {LONGEST_SUMMARY} are the limit"


def texts() -> Iterator[Path]:
    """Yield the files to check."""
    yield ROOT / "README.md"
    for folder in FOLDERS:
        yield from (path for path in ROOT.joinpath(folder).rglob("*") if path.suffix in SUFFIXES)


def test_no_file_uses_a_word_that_has_a_plainer_form() -> None:
    """Code, comments, messages and documentation."""
    found = [
        f"{path.relative_to(ROOT)}:{use}"
        for path in texts()
        for use in unplain(path.read_text(encoding="utf-8"))
    ]

    assert [] == sorted(found)


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("The lock is kept for ever.\nIs it well?", ["1: 'for ever'", "2: 'Is it well'"]),
        ("We recommend four everyday words.", []),
    ],
)
def test_a_word_that_has_a_plainer_form_is_found(text: str, uses: list[str]) -> None:
    """The finding shows the line and the words."""
    assert uses == [use.partition(";")[0] for use in unplain(text)]


def test_each_summary_starts_with_an_imperative_verb_and_is_short() -> None:
    """Summaries of the built-in commands and of the reference project."""
    listing = load_application("app.project:project", str(ROOT), {}).registry.listing()

    assert [] == [
        f"{entry.name}: {problem}"
        for entry in listing.entries
        for problem in summary_problems(entry.summary)
    ]


@pytest.mark.parametrize(
    ("summary", "problems"),
    [
        ("Delete old rows.", 0),
        ("Bring the schema to the newest revision.", 0),
        ("Deletes old rows.", 1),
        ("Deleting old rows.", 1),
        ("The rows that are old.", 1),
        ("delete old rows.", 1),
        (f"Delete {'old ' * 20}rows.", 1),
    ],
)
def test_a_bad_summary_is_found(summary: str, problems: int) -> None:
    """It has one problem for each rule that it breaks."""
    assert problems == len(list(summary_problems(summary)))
