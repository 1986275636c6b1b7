"""The stricter of the setting and the stored environment applies."""

from __future__ import annotations

import pytest

from oneoff.config.environment import Facts, configured, effective, is_protected

HERE = Facts("shop", identity="1/2", stored_environment="production", stored_identity="1/2")


def test_the_default_is_development_or_with_a_database_url_production() -> None:
    """An embedded file is a developer's; a URL may point to any database."""
    assert "development" == configured("", database_url_set=False)
    assert "production" == configured("", database_url_set=True)
    assert "staging" == configured("staging", database_url_set=True)


@pytest.mark.parametrize("relaxed", ["", "development", "test", "ci", "staging"])
def test_an_environment_apart_from_the_url_describes_another_database(relaxed: str) -> None:
    """It can make the run stricter, but not less strict."""
    assert "production" == configured(relaxed, database_url_set=True, apart=True)
    assert "live" == configured("live", database_url_set=True, apart=True)
    assert (relaxed or "development") == configured(relaxed, database_url_set=False, apart=True)


@pytest.mark.parametrize(
    ("setting", "stored", "expected"),
    [
        ("development", "production", "production"),
        ("production", "development", "production"),
        ("staging", "development", "staging"),
        ("qa7", "staging", "qa7"),
        ("development", "", "development"),
        ("production", "live", "live"),
        ("live", "production", "production"),
        ("test", "development", "development"),
    ],
)
def test_the_stricter_environment_applies(setting: str, stored: str, expected: str) -> None:
    """An unknown name counts as production; of two equally strict ones the stored one stays."""
    assert expected == effective(setting, HERE._replace(stored_environment=stored))


def test_a_restored_dump_is_a_copy_and_does_not_count_as_production() -> None:
    """The stored environment of a copy is that of the original."""
    copy = HERE._replace(identity="9/9")

    assert copy.is_copy
    assert "staging" == effective("staging", copy)


def test_a_role_that_cannot_read_the_clusters_id_does_not_make_it_a_copy() -> None:
    """Revoking a privilege must not remove the protection."""
    blind = HERE._replace(identity="/2")

    assert not blind.is_copy
    assert "production" == effective("development", blind)
    assert HERE._replace(identity="/9").is_copy


def test_without_a_database_the_setting_applies() -> None:
    """A command without a database has an environment too."""
    assert "staging" == effective("staging", None)


def test_unknown_environments_are_protected_like_production() -> None:
    """Only known harmless names are not."""
    assert [True, True, False, False] == [
        is_protected(name, {"production"})
        for name in ("production", "live", "staging", "development")
    ]
