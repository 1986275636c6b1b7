"""Who is the same person."""

from __future__ import annotations

from oneoff.core.run import identity_of


def test_names_that_look_the_same_in_another_case_are_one_person() -> None:
    """With spaces around them, and with an accent that is a letter of its own, too."""
    names = ("ärni", "ÄRNI", " a\u0308rni", "A\u0308RNI ")

    assert {"ärni"} == {identity_of(name) for name in names}
    assert identity_of("Straße") == identity_of("STRASSE")
    assert identity_of("arni") != identity_of("ärni")
