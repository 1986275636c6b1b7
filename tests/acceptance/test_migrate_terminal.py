"""`migrate` at a terminal."""

from __future__ import annotations

from pathlib import Path

from tests.support.terminal import Person

ROOT = Path(__file__).resolve().parents[2]


def test_it_shows_the_revision_that_is_applied_now(environ: dict[str, str], tmp_path: Path) -> None:
    """A long revision is not silent; its seconds are on a line that the result replaces."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    settings = {"DATABASE_URL": url, "ENVIRONMENT": "test", "COLUMNS": "80"}
    person = Person(["migrate"], cwd=ROOT, env={**environ, **settings})

    assert 0 == person.leaves()
    assert "applying 0001 ... 0 s" in person.screen
    assert "applied 4 revisions" in person.screen
