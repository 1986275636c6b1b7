"""The pictures of the documentation are those of their sources."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts.site.pictures import PICTURES, ROOT, layers_picture, pictures
from scripts.site.recording import SESSION, lines, spans

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", pictures())
def test_a_picture_is_as_its_source(name: str) -> None:
    """If this fails, run `make pictures`."""
    assert pictures()[name] == (PICTURES / name).read_text(encoding="utf-8")


def test_a_new_layer_changes_the_picture() -> None:
    """The picture is made from the contract and the table."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    more = layers_picture(
        pyproject.replace('    "config",\n', '    "config",\n    "attic",\n', 1),
        contributing.replace("| `config/` |", "| `attic/` | old things |\n| `config/` |"),
    )

    assert "old things" in more
    assert pictures()["layers.svg"] != more


def test_the_recording_shows_each_line_of_the_session() -> None:
    """If the session changes, it is recorded again: `make pictures`."""
    root = ET.parse(PICTURES / "session.svg").getroot()  # noqa: S314 - our own picture
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    typed = [text.removeprefix("$ python manage.py ") for text in texts if text.startswith("$ ")]

    assert [line for line, _ in SESSION] == typed
    assert "ada is now admin (was user)" in texts


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_pictures_load_nothing(path: Path) -> None:
    """No font, script or picture of another host."""
    text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert not re.search(r"https?:|<script|<image|@import|@font-face", text)


def test_a_line_that_was_written_over_is_not_recorded() -> None:
    """Such as a progress bar. Colours become classes."""
    assert ["done", "next"] == lines("[#...]\r[##..]\r\x1b[Kdone\r\nnext\r\n")
    assert [("no: ", "bold red"), ("it", "")] == list(spans("\x1b[1;31mno: \x1b[0mit"))
