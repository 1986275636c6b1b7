"""A coding agent is recognised by the variables that it sets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oneoff import Project
from oneoff.config.database_url import DatabaseURL
from oneoff.config.operator_identity import AGENT_VARIABLES, agent_of
from oneoff.core.options import GlobalOptions
from oneoff.core.run import Operator
from oneoff.runtime.application import Application
from oneoff.utils.hosts import is_local_host


@pytest.mark.parametrize("variable", AGENT_VARIABLES)
def test_each_variable_of_the_table_names_its_agent(variable: str) -> None:
    """The general variables contain the name, the others only say that they are set."""
    expected = AGENT_VARIABLES[variable] or "robot@2"

    assert expected == agent_of({variable: "robot@2"})


@pytest.mark.parametrize("value", ["", " ", "0", "false", "No"])
def test_a_variable_that_says_no_is_not_an_agent(value: str) -> None:
    """Nor is a process without the variables, or one whose `.env` would name one."""
    assert "" == agent_of({"CODEX_CI": value, "AGENT": value, "CODEX_HOME": "/home/ada/.codex"})


def test_the_table_is_documented() -> None:
    """In the same order."""
    page = Path(__file__).parents[3] / "docs/explanation/confirmation-and-environment.md"
    table = page.read_text(encoding="utf-8").partition("| Variable | Agent |")[2]
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \| (.+) \|$", table, re.MULTILINE)

    assert AGENT_VARIABLES == {
        variable: "" if agent == "their value" else agent.strip("`")
        for variables, agent in rows
        for variable in re.findall(r"\w+", variables)
    }


def test_a_variable_in_a_file_is_not_an_agent(tmp_path: Path) -> None:
    """An application may have a setting of the same name."""
    (tmp_path / ".env").write_text("AGENT=support\n")
    app = Application(Project("shop"), str(tmp_path), {})

    assert "" == app.new_run("hello", GlobalOptions()).operator.agent


def test_an_agent_without_a_name_is_unknown() -> None:
    """The first variable counts."""
    assert "unknown" == agent_of({"AGENT": "1"})
    assert "own-name" == agent_of({"CLAUDECODE": "1", "AI_AGENT": "own-name"})


def test_the_record_names_the_agent_beside_the_source() -> None:
    """Without an agent there is only the source."""
    person = Operator(name="ada", source="os-user")
    agent = Operator(name="ada", source="os-user", agent="claude-code")

    assert ("os-user", "os-user, agent claude-code") == (person.known_from, agent.known_from)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("/var/run/postgresql", True),
        ("db", False),
        ("127.example.com", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_only_loopback_and_sockets_are_this_machine(host: str, *, local: bool) -> None:
    """Without a host, asyncpg may read one from variables, so it is unknown."""
    assert local == is_local_host(host)


def test_an_address_counts_more_than_the_name_of_the_host() -> None:
    """The client connects to `hostaddr`; a SQLite file is always local."""
    away = DatabaseURL("postgresql", "localhost", query={"hostaddr": "10.0.0.1"})

    assert not away.is_local
    assert DatabaseURL("sqlite", database="/srv/shop.sqlite3").is_local
