"""Plug-ins are found by the entry points in the metadata of installed distributions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oneoff.runtime.plugins.entry_points import installed_entry_points


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str, str], str]:
    """Return a function that writes an installed distribution's entry points."""

    def install_distribution(site: str, name: str, entry_points: str) -> str:
        folder = tmp_path / site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "entry_points.txt").write_text(entry_points)
        return str(folder.parent)

    return install_distribution


def test_plug_ins_are_found_by_their_entry_points(install: Callable[..., str]) -> None:
    """Only lines in our sections count; comments and extras are ignored."""
    site = install(
        "site",
        "shop_plugin",
        "[console_scripts]\nrun = x:y\n[oneoff.commands]\n# a = b\nshop = shop_plugin.commands\n"
        "more = shop_plugin.more [extra]\n\n[oneoff.resources]\nmailer=shop_plugin.mail:open\n"
        "[oneoff.events]\ntrace = shop_plugin:listener\n[other]\nno = nothing\n"
        "[commands]\nnot = ours\n[oneoff.other]\nunknown = x\n",
    )

    found = installed_entry_points([site])

    assert [
        ("commands", "shop", "shop_plugin.commands"),
        ("commands", "more", "shop_plugin.more"),
        ("resources", "mailer", "shop_plugin.mail:open"),
        ("events", "trace", "shop_plugin:listener"),
    ] == [(one.group, one.name, one.value) for one in found]
    assert {"shop_plugin 1.0"} == {one.distribution for one in found}


def test_the_first_installation_of_a_plug_in_hides_the_second(
    install: Callable[..., str],
) -> None:
    """An import finds the first one too."""
    first = install("one", "shop", "[oneoff.commands]\nshop = first.commands\n")
    second = install("two", "shop", "[oneoff.commands]\nshop = second.commands\n")

    assert ["first.commands"] == [
        one.value for one in installed_entry_points([first, "/nowhere", second])
    ]
