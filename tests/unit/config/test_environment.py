"""The stricter of the setting and the database counts."""

from __future__ import annotations

import pytest

from oneoff.config.environment import Facts, configured, effective, is_protected

HERE = Facts("shop", identity="1/2", stored_environment="production", stored_identity="1/2")


def test_nothing_set_is_development_and_a_bare_database_url_is_production() -> None:
    """An embedded file is a developer's; a URL might be anybody's."""
    assert "development" == configured("", database_url_set=False)
    assert "production" == configured("", database_url_set=True)
    assert "staging" == configured("staging", database_url_set=True)


@pytest.mark.parametrize(
    ("setting", "stored", "expected"),
    [
        ("development", "production", "production"),
        ("production", "development", "production"),
        ("staging", "development", "staging"),
        ("qa7", "staging", "qa7"),
        ("development", "", "development"),
    ],
)
def test_the_stricter_counts(setting: str, stored: str, expected: str) -> None:
    """A name nobody knows counts as production."""
    assert expected == effective(setting, HERE._replace(stored_environment=stored))


def test_a_restored_dump_is_recognised_and_does_not_count_as_production() -> None:
    """A copy's stored environment is that of the original."""
    copy = HERE._replace(identity="9/9")

    assert copy.is_copy
    assert "staging" == effective("staging", copy)


def test_a_role_that_may_not_read_the_cluster_can_not_make_it_a_copy() -> None:
    """Taking a privilege away must not take the protection away."""
    blind = HERE._replace(identity="/2")

    assert not blind.is_copy
    assert "production" == effective("development", blind)
    assert HERE._replace(identity="/9").is_copy


def test_without_a_database_the_setting_counts() -> None:
    """A command that needs no database still knows where it is."""
    assert "staging" == effective("staging", None)


def test_unknown_environments_are_protected_like_production() -> None:
    """Only names known to be harmless are."""
    assert [True, True, False, False] == [
        is_protected(name, {"production"})
        for name in ("production", "live", "staging", "development")
    ]
