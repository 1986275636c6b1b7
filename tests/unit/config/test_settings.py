"""DATABASE_URL may be missing only in development: elsewhere a new, empty file would be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff import ConfigurationError, Project
from oneoff.config.settings import load_config
from oneoff.runtime.application import Application


@pytest.mark.parametrize(
    "environment", ["production", "staging", "test", "ci", "qa7", "Production"]
)
def test_a_missing_database_url_is_an_error_outside_development(
    tmp_path: Path, environment: str
) -> None:
    """The error has a code that a release script can recognise."""
    application = Application(Project("shop"), str(tmp_path), {"ENVIRONMENT": environment})

    with pytest.raises(ConfigurationError) as caught:
        application.database_url()

    assert "missing-setting" == caught.value.code
    assert f"DATABASE_URL is not set, but ENVIRONMENT is {environment.lower()}" in str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"ENVIRONMENT": "development"}, {"ENVIRONMENT": ""}])
def test_development_uses_a_file(tmp_path: Path, environ: dict[str, str]) -> None:
    """Nothing has to be set for the first steps."""
    assert () == load_config(tmp_path, environ).problems
