"""The documentation as a site: its navigation, its links out of docs/, and no other hosts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.site.hooks import (
    DOCS,
    PROJECT_FILES,
    ROOT,
    foreign_parts,
    navigation,
    with_links_of_the_site,
)

FORGE = "https://forge.example/shop"


def test_the_navigation_has_each_page_once() -> None:
    """The index has some pages twice: only the first link of a list item is a page."""
    found = pages(navigation((DOCS / "index.md").read_text(encoding="utf-8")))
    made = [page for page in found if page.startswith("reference/api/")]
    expected = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]

    assert sorted([*expected, *made]) == sorted([*found, "index.md"])


def test_headings_of_the_index_are_sections() -> None:
    """A smaller heading is a section in a section. Code signs are not shown."""
    index = "# All\n## How-to\n### Run\n- [Ask `x`](a.md), as [b](b.md)\n## Other\n- [C](c.md)\n"

    assert [
        {"How-to": [{"Run": [{"Ask x": "a.md"}]}]},
        {"Other": [{"C": "c.md"}]},
    ] == navigation(index)[:2]


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("howto/secrets.md", "../../SECURITY.md#x", "../project/SECURITY.md#x"),
        ("howto/secrets.md", "../reference/errors.md", "../reference/errors.md"),
        ("howto/secrets.md", "../../app/project.py", f"{FORGE}/blob/main/app/project.py"),
        ("howto/secrets.md", "https://a.example/", "https://a.example/"),
        ("howto/secrets.md", "#top", "#top"),
        ("project/CONTRIBUTING.md", "docs/index.md", "../index.md"),
        ("project/CONTRIBUTING.md", "SECURITY.md", "SECURITY.md"),
        ("project/CHANGELOG.md", "app", f"{FORGE}/tree/main/app"),
    ],
)
def test_links_lead_to_the_site_or_to_the_forge(source: str, link: str, expected: str) -> None:
    """On a forge all files are in one tree; the site has docs/ and a few others."""
    assert f"[a]({expected})" == with_links_of_the_site(f"[a]({link})", source, FORGE)


@pytest.mark.parametrize(
    ("html", "count"),
    [
        ('<script src="https://cdn.example/a.js"></script>', 1),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', 1),
        ("<style>@import url('https://fonts.example/a.css')</style>", 1),
        ('<img src="https://shield.example/a.svg">', 1),
        ('<script src="../assets/a.js"></script><a href="https://a.example">a</a>', 0),
    ],
)
def test_what_a_page_loads_from_another_host_is_found(html: str, count: int) -> None:
    """A link that a reader follows is none of it."""
    assert count == len(foreign_parts(html))


def test_the_forge_is_not_asked_by_each_visitor() -> None:
    """With repo_url, the theme's script asks the API of the forge."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    assert not re.search(r"^(repo_url|edit_uri):", text, re.MULTILINE)
    assert "font: false" in text


def test_the_pages_of_the_root_exist() -> None:
    """They are named in the hooks."""
    assert [] == [name for name in PROJECT_FILES if not (ROOT / name).exists()]


def pages(entries: list[dict[str, list[object]]] | list[object]) -> list[str]:
    """Return the pages of a navigation, in all its sections."""
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(Path(entry).as_posix())
        elif isinstance(entry, dict):
            for value in entry.values():
                found += pages(value if isinstance(value, list) else [value])
    return found
