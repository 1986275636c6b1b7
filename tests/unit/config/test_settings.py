"""DATABASE_URL may be missing only in development: elsewhere a new, empty file would be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff import ConfigurationError, Project
from oneoff.config.settings import SETTINGS, load_config
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
    assert () == load_config(tmp_path, Project("shop"), environ).problems


URL = "postgres://shop@db/shop"


@pytest.mark.parametrize(
    ("in_file", "exported", "environment", "reason"),
    [
        ({"ENVIRONMENT": "development", "DATABASE_URL": URL}, {}, "development", ""),
        ({}, {"ENVIRONMENT": "development", "DATABASE_URL": URL}, "development", ""),
        ({"DATABASE_URL": URL}, {"ENVIRONMENT": "development"}, "development", ""),
        ({"ENVIRONMENT": "development"}, {}, "development", ""),
        ({"ENVIRONMENT": "live"}, {"DATABASE_URL": URL}, "live", ""),
        ({}, {"DATABASE_URL": URL}, "production", "ENVIRONMENT is not set, so "),
        ({"DATABASE_URL": URL}, {"ENVIRONMENT": ""}, "production", "ENVIRONMENT is not set, so "),
        (
            {"ENVIRONMENT": "development", "DATABASE_URL": "postgres://me@localhost/shop"},
            {"DATABASE_URL": URL},
            "production",
            "ENVIRONMENT=development is in .env and DATABASE_URL is not, so ",
        ),
    ],
)
def test_an_environment_in_a_file_does_not_describe_a_url_from_elsewhere(
    tmp_path: Path,
    in_file: dict[str, str],
    exported: dict[str, str],
    environment: str,
    reason: str,
) -> None:
    """The URL of production, exported in a developer's folder, stays protected."""
    lines = [f"{name}={value}\n" for name, value in in_file.items()]
    (tmp_path / ".env").write_text("".join(lines))

    config = load_config(tmp_path, Project("shop"), exported)

    assert environment == config.configured_environment
    assert reason == config.environment_assumed[: len(reason)]
    assert bool(reason) == bool(config.environment_assumed)


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_value_that_is_enclosed_in_quotes_is_a_problem(
    tmp_path: Path, name: str, quote: str
) -> None:
    """`docker run --env-file` keeps them. In `.env` they belong to the syntax."""
    given = f"{quote}postgres://shop:s3cret@db/shop{quote}"
    (tmp_path / ".env").write_text(f"OPERATOR={quote}ada{quote}\n")

    config = load_config(tmp_path, Project("shop"), {"DATABASE_URL": "sqlite:///x.db", name: given})

    problem = f"{name} is enclosed in {quote} quotes, which `docker --env-file` keeps: remove them"
    assert (problem,) == config.problems
    assert name == "OPERATOR" or config.operator == "ada"


def test_no_run_uses_another_database_because_of_quotes(tmp_path: Path) -> None:
    """The embedded file is not used instead."""
    url = {"DATABASE_URL": "'postgres://db/shop'"}

    with pytest.raises(ConfigurationError, match="DATABASE_URL is enclosed in ' quotes"):
        Application(Project("shop"), str(tmp_path), url).database_url()


@pytest.mark.parametrize(
    ("given", "level"),
    [("20", "info"), ("WARN", "warning"), ("critical", "error"), ("Debug", "debug")],
)
def test_levels_of_other_libraries_are_understood(tmp_path: Path, given: str, level: str) -> None:
    """LOG_LEVEL is the application's variable too."""
    config = load_config(tmp_path, Project("shop"), {"LOG_LEVEL": given})

    assert (level, (), ()) == (config.log_level, config.problems, config.ignored)


@pytest.mark.parametrize(
    ("name", "text"),
    [("LOG_LEVEL", "loud"), ("LOG_FORMAT", "%(message)s"), ("SECRET_KEY", "changethis")],
)
def test_a_shared_name_may_have_a_value_for_the_application(
    tmp_path: Path, name: str, text: str
) -> None:
    """It stops no command. With the prefix, the value is meant for the framework."""
    shared = load_config(tmp_path, Project("shop"), {name: text})
    ours = load_config(tmp_path, Project("shop"), {f"ONEOFF_{name}": text, name: "x" * 32})

    assert ((), 1, "info", "") == (
        shared.problems,
        len(shared.ignored),
        shared.log_level,
        shared.secret_key,
    )
    assert [f"ONEOFF_{name}"] == [problem.split()[0] for problem in ours.problems]
    assert text not in str(shared.ignored) or name != "SECRET_KEY"


def test_the_prefixed_variable_comes_first(tmp_path: Path) -> None:
    """An empty one does not count as set."""
    environ = {"ONEOFF_LOG_LEVEL": "error", "LOG_LEVEL": "debug", "ONEOFF_OPERATOR": " "}
    config = load_config(tmp_path, Project("shop"), {**environ, "OPERATOR": "ada"})

    assert ("error", "ada") == (config.log_level, config.operator)
    assert ("ONEOFF_LOG_LEVEL", "OPERATOR") == (
        config.variable("LOG_LEVEL"),
        config.variable("OPERATOR"),
    )


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ONEOFF_WEBHOOK_URL", "hooks.example.com/T0", "is not an http:// or https:// URL"),
        ("ONEOFF_WEBHOOK_URL", "file:///etc/passwd", "is not an http:// or https:// URL"),
        ("ONEOFF_WEBHOOK_RUNS", "all, policy", "'all' is not one of failures, policy, writes"),
    ],
)
def test_a_webhook_that_can_not_be_used_is_a_problem(
    tmp_path: Path, name: str, value: str, problem: str
) -> None:
    """Otherwise no notice would ever arrive. The URL is not shown."""
    assert (f"{name} {problem}",) == load_config(tmp_path, Project("shop"), {name: value}).problems
