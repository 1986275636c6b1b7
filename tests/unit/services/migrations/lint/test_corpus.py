"""How much of what strong_migrations and squawk document is found, and how many false alarms.

The pairs are in tests/support/lint. The page docs/reference/migration-lint.md lists the checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from oneoff.services.migrations.lint.rules import RULES
from oneoff.services.migrations.lint.rules import SQUAWK as SQUAWK_ALONE
from oneoff.services.migrations.lint.squawk import find_squawk, run_squawk
from tests.support.lint import squawk, strong_migrations
from tests.support.lint.pairs import Pair
from tests.support.lint.render import FACTS, render, render_file, rules_broken
from tests.support.lint.tutorials import TUTORIALS, Revision

ROOT = Path(__file__).parents[5]
PAGE = ROOT / "docs/reference/migration-lint.md"
PROJECT = sorted((ROOT / "migrations/versions").glob("*.py"))

PAIRS = (*strong_migrations.STRONG_MIGRATIONS, *squawk.SQUAWK)
ALL = (*PAIRS, *squawk.OWN)
FOUND, FOUND_WITH_SQUAWK, FALSE = 0.85, 0.95, 0.02


@cache
def unsafe() -> list[str]:
    """Return the SQL of the unsafe revision of each pair."""
    return [render(pair.unsafe) for pair in ALL]


@cache
def harmless() -> list[tuple[list[str], Sequence[str]]]:
    """Return the SQL of each other history, and the rules that it rightly breaks."""
    safe = [([render(code) for code in pair.safe], ()) for pair in ALL]
    others = [([render(one.code)], one.rules) for one in TUTORIALS]
    return [*safe, *others, *(([render_file(path)], ()) for path in PROJECT)]


async def from_squawk(texts: Sequence[str]) -> list[set[str]]:
    """Return the rules of squawk that each text breaks."""
    program = find_squawk()
    if not program:
        pytest.skip("squawk is not installed: make setup")
    broken: list[set[str]] = [set() for _ in texts]
    for one in await run_squawk(program, texts, FACTS.version):
        broken[one.place].add(f"squawk/{one.rule}")
    return broken


@pytest.mark.parametrize("pair", ALL, ids=lambda pair: f"{pair.check}: {pair.rule}")
def test_an_unsafe_revision_breaks_its_rule_and_the_safe_form_none(pair: Pair) -> None:
    """The safe form is checked as the revisions of one history."""
    broken = rules_broken([render(pair.unsafe)])

    assert pair.rule in broken or pair.rule.startswith("squawk/")
    assert [] == rules_broken(map(render, pair.safe))


@pytest.mark.parametrize("revision", TUTORIALS, ids=lambda revision: revision.source)
def test_a_revision_of_a_tutorial_breaks_only_what_it_should(revision: Revision) -> None:
    """Also those rules that it should."""
    assert [*revision.rules] == rules_broken([render(revision.code)])


def test_most_documented_checks_are_found_without_squawk() -> None:
    """The rate is printed: pytest -s."""
    found = [pair.rule in rules_broken([sql]) for pair, sql in zip(ALL, unsafe(), strict=True)]

    assert measured("found without squawk", found) >= FOUND


async def test_almost_all_documented_checks_are_found_with_squawk() -> None:
    """Squawk adds the rules that only it has."""
    theirs = await from_squawk(unsafe())
    found = [
        pair.rule in {*rules_broken([sql]), *others}
        for pair, sql, others in zip(ALL, unsafe(), theirs, strict=True)
    ]

    assert measured("found with squawk", found) >= FOUND_WITH_SQUAWK


def test_there_are_almost_no_false_alarms_without_squawk() -> None:
    """In the safe forms, the tutorials, and the revisions of the reference project."""
    false = [set(rules_broken(texts)) - {*rules} for texts, rules in harmless()]

    assert measured("false alarms without squawk", false) <= FALSE


async def test_squawk_adds_almost_no_false_alarms() -> None:
    """In the same revisions."""
    theirs = await from_squawk([sql for texts, _ in harmless() for sql in texts])

    assert measured("false alarms of squawk", theirs) <= FALSE


def measured(what: str, each: Iterable[object]) -> float:
    """Print and return the share of those that are true."""
    values = [bool(one) for one in each]
    rate = sum(values) / len(values)
    print(f"{what}: {sum(values)} of {len(values)} ({rate:.1%})")
    return rate


def rows(heading: str) -> Iterator[tuple[str, str]]:
    """Yield check and answer of each row of a section of the page."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for check, answer in re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE):
        if check not in ("Check", "---"):
            yield check, answer


@pytest.mark.parametrize(
    ("heading", "pairs"),
    [("strong_migrations", strong_migrations.STRONG_MIGRATIONS), ("squawk", squawk.SQUAWK)],
)
def test_each_check_that_the_page_says_is_covered_has_a_pair(
    heading: str, pairs: Sequence[Pair]
) -> None:
    """With the rule that the page names."""
    covered = {
        name: answer
        for check, answer in rows(heading)
        if not answer.startswith("not covered")
        for name in (re.findall(r"`([a-z-]+)`", check) if heading == "squawk" else [check])
    }
    given = {pair.check: pair for pair in pairs}
    wrong = {
        check: answer
        for check, answer in covered.items()
        if check not in given or not agrees(answer, given[check].rule)
    }

    assert {} == {check: wrong[check] for check in wrong if check not in ALSO_ON_THIS_ROW}
    assert [] == [check for check in given if check not in covered]


ALSO_ON_THIS_ROW = ("require-timeout-settings", "ban-drop-index")
"""Names of squawk's checks that share a row with another one, or are not switched on."""


def agrees(answer: str, rule: str) -> bool:
    """Return whether the page's answer names the rule."""
    if rule.startswith("squawk/"):
        return answer == "squawk alone" and rule.removeprefix("squawk/") in SQUAWK_ALONE
    return f"`{rule}`" in answer


@pytest.mark.parametrize("name", RULES)
def test_the_page_shows_what_to_write_instead(name: str) -> None:
    """The same as the command."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n### {name}\n")[2].partition("\n##")[0]
    lines = [line.format(table="users", name="x", words="INDEX") for line in RULES[name].instead]

    assert RULES[name].why.lower() in section.lower()
    assert [] == [line for line in lines if line not in section]
    assert RULES[name].everywhere == ("Also on SQLite." in section)


def test_the_page_names_every_rule() -> None:
    """And the corpus has a revision for each."""
    text = PAGE.read_text(encoding="utf-8")

    assert [] == [rule for rule in RULES if f"`{rule}`" not in text]
    assert set(RULES) == {pair.rule for pair in ALL if not pair.rule.startswith("squawk/")}
    assert set(SQUAWK_ALONE) == {
        pair.rule.removeprefix("squawk/") for pair in ALL if pair.rule.startswith("squawk/")
    }
