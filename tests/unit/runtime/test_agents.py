"""A coding agent may read and preview in production, and confirm in development."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneoff.cli.dispatch import Page, dispatch
from oneoff.core.errors import Refused
from oneoff.core.options import options_of
from oneoff.core.outcome import Call
from oneoff.core.policy import Access, Confirm, DryRun
from oneoff.runtime.agents import ALLOW, CONFIRM, REFUSE, allowed
from oneoff.runtime.application import load_application
from oneoff.runtime.gate import Ask, check_agent, check_answer, decide
from oneoff.runtime.situation import Situation, line_with, request_line
from tests.support.samples import SAMPLES

APP = load_application("app.project:project", str(Path(__file__).parents[3]), {})
LINES = {
    "db shell": "db shell --write",
    "shell": "shell --write -c 1",
    "commands docs": "commands docs -o commands.md",
}
"""Lines that write, of the commands whose samples only read or need a folder."""
WAYS = {
    "no option": (),
    "--confirm": ("--confirm",),
    "the target": ("--confirm=shop@{environment}",),
    "--break-glass": ("--break-glass", "it burns", "--confirm=shop@{environment}"),
    "a prompt": (),
}


def writing() -> dict[str, str]:
    """Return a line that writes for each shipped command that may, by name."""
    entries = [entry for entry in APP.registry.entries() if not entry.alias_of]
    names = [e.name for e in entries if APP.registry.load(e).access is Access.WRITE]
    return {name: LINES.get(name) or SAMPLES[name].line.format(run="1", tmp=".") for name in names}


def call_of(line: str, *flags: str) -> Call:
    """Parse a line, with those of the flags that the command has."""
    words = shlex.split(line)
    entry, _ = APP.registry.find(words)
    known = {option.spelling for option in options_of(APP.registry.load(entry))}
    if flags and flags[0].partition("=")[0] in known:
        words += [flag for flag in flags if flag.partition("=")[0] in known | {"it burns"}]
    call = dispatch(APP, words, "python manage.py")
    assert not isinstance(call, Page)
    return call


def situation(
    line: str, environment: str, *, agent: str = "claude-code", prompt: bool = False
) -> Situation:
    """Return where the line runs: on a local database, or on that of production."""
    production = environment == "production"
    return Situation(
        name="it",
        line=f"python manage.py {line}",
        environment=environment,
        target=f"shop@{environment}",
        protected=production,
        interactive=prompt,
        is_local=not production,
        agent=agent,
    )


def refusal(call: Call, here: Situation) -> Refused | None:
    """Return the refusal of the gate, with the right answer at a prompt; None if the call runs."""
    try:
        check_agent(call.command, call.options, here)
        ask = decide(call.command, call.options, here)
        if ask is not Ask.NOTHING:
            answer = here.target if ask is Ask.TARGET else "y"
            check_answer(ask, answer, call.command, here)
    except Refused as exc:
        return exc
    return None


def attempts(environment: str, agent: str) -> Iterator[tuple[str, str, Refused | None]]:
    """Yield name, way and refusal of every writing command in every way to confirm it."""
    for name, line in writing().items():
        for way, flags in WAYS.items():
            call = call_of(line, *(flag.format(environment=environment) for flag in flags))
            here = situation(call.line, environment, agent=agent, prompt=way == "a prompt")
            yield name, way, refusal(call, here._replace(line=call.line))


def test_no_writing_command_passes_in_production_and_no_refusal_says_how() -> None:
    """By --confirm, the target, --break-glass, or at a prompt; 77 in each case."""
    found = list(attempts("production", "claude-code"))
    texts = [" ".join([e.message, e.why, *e.try_]) for _, _, e in found if e]

    assert len(found) > 150
    assert {"approval request", "approval withdraw"} == {name for name, _, e in found if e is None}
    assert {("agent-refused", 77)} == {(e.code, int(e.exit_code)) for _, _, e in found if e}
    hints = ("--confirm", "--break-glass", "shop@production", "ONEOFF_AGENTS", "it burns")
    assert [] == [text for text in texts if any(hint in text for hint in hints)]


def test_a_person_passes_where_the_agent_does_not() -> None:
    """Otherwise the test before would prove nothing."""
    found = list(attempts("production", ""))
    passing = {name for name, _, error in found if error is None}

    assert passing == set(writing())


def test_in_development_an_agent_may_do_what_a_person_may() -> None:
    """On a local database."""
    agent, person = (list(attempts("development", who)) for who in ("claude-code", ""))

    assert [e and e.code for *_, e in person] == [e and e.code for *_, e in agent]
    assert set(writing()) == {name for name, _, error in agent if error is None}


def test_the_refusal_suggests_the_preview_and_the_request_of_an_approval() -> None:
    """Without what would confirm the run."""
    reset = call_of("db reset --seed", "--confirm=x@y", "--break-glass", "it burns")
    client = call_of("db shell --write")

    refused, without = (
        refusal(call, situation("", "production")._replace(line=call.line, words=call.argv))
        for call in (reset, client)
    )

    assert refused is not None
    assert without is not None
    assert (
        "python manage.py db reset --seed --dry-run",
        "python manage.py approval request --reason TEXT -- db reset --seed",
    ) == refused.try_
    assert "the agent claude-code may only read and preview here" == refused.why
    assert ("python manage.py approval request --reason TEXT -- db shell --write",) == without.try_


def test_the_suggested_request_leaves_out_what_belongs_to_one_run() -> None:
    """Options of the run, with their values; the command's own words stay."""
    words = shlex.split(
        "note 'two words' --json --reason 'no --confirm' --timeout=5s -v --approval x "
        "--lock-wait 3s --break-glass y --all --confirm -- --confirm"
    )

    line = request_line(situation("note", "production")._replace(words=words))

    expected = "note 'two words' --all -- --confirm"
    assert f"python manage.py approval request --reason TEXT -- {expected}" == line


def test_an_agent_may_read_and_preview_in_production() -> None:
    """Every command that has a dry run, and those that only read."""
    lines = [f"{line} --dry-run" for line in writing().values() if has_dry_run(line)]
    lines = [line for line in lines if call_of(line).command.allow_agents is not False]
    lines += ["user list", "migrate --check", "system environment"]

    assert [] == [
        line for line in lines if refusal(call_of(line), situation(line, "production")) is not None
    ]


@pytest.mark.parametrize(
    "line", ["shell", "shell -c 1", "shell -c 1 --write --dry-run", "db shell", "db backup"]
)
def test_an_agent_may_not_do_more_than_read_in_a_command_that_reads(line: str) -> None:
    """Code in a shell can write files and start programs; a backup is a copy of all data."""
    call = call_of(line)
    here = situation(line, "production")._replace(words=call.argv)

    refused = refusal(call, here)

    assert refused is not None
    assert "agent-refused" == refused.code
    assert "may only read and preview here, and this can do more" in refused.why
    (advice,) = refused.try_
    assert advice.startswith("python manage.py approval request --reason TEXT -- ")
    assert refusal(call, here._replace(approved=True)) is None
    assert refusal(call, situation(line, "development")) is None


def has_dry_run(line: str) -> bool:
    """Return whether the command of a line can be previewed."""
    return call_of(line).command.dry_run is not DryRun.UNSUPPORTED


def test_an_agent_may_not_break_the_glass_for_a_preview() -> None:
    """A command that is limited to other environments has no preview here, and no advice."""
    call = call_of("db reset", "--break-glass", "it burns")
    call.options.dry_run = True
    command = type("Staged", (type(call.command),), {"environments": frozenset({"staging"})})()
    here = situation("db reset", "production")

    broken = refusal(call, here)
    call.options.break_glass = ""
    elsewhere = refusal(call._replace(command=command), here)

    assert broken is not None
    assert elsewhere is not None
    assert "agent-refused" == broken.code
    assert ("prohibited-here", ("run it in: staging",)) == (elsewhere.code, elsewhere.try_)


def test_the_target_is_confirmed_only_on_this_machine() -> None:
    """A remote database may be anybody's; --confirm for a y/N question is enough there."""
    away = situation("db reset", "development")._replace(is_local=False)
    reset = call_of("db reset", "--confirm=shop@development")
    promote = call_of("user promote ada admin", "--confirm")

    refused = refusal(reset, away)

    assert refused is not None
    assert "agent-refused" == refused.code
    assert "may confirm it only for a database on this machine" in refused.why
    assert refusal(promote, away) is None
    assert refusal(reset, away._replace(agents=ALLOW)) is None


def test_advice_keeps_the_reason_to_break_the_glass() -> None:
    """In both spellings, unless the advice gives another."""
    for given in ("--break-glass 'it burns'", "'--break-glass=it burns'"):
        line = f"python manage.py db reset {given} --confirm=x@y"

        assert f"python manage.py db reset {given} --confirm=a@b" == (
            line_with(line, "--confirm=a@b")
        )
        assert 'python manage.py db reset --break-glass "REASON"' == (
            line_with(line, '--break-glass "REASON"')
        )


@pytest.mark.parametrize(
    ("setting", "environment", "protected", "expected"),
    [
        ("", "development", False, CONFIRM),
        ("", "ci", False, CONFIRM),
        ("", "staging", False, REFUSE),
        ("", "production", True, REFUSE),
        ("refuse", "development", False, REFUSE),
        ("confirm", "staging", False, CONFIRM),
        ("allow", "staging", False, ALLOW),
        ("allow", "production", True, REFUSE),
        ("allow", "staging", True, REFUSE),
    ],
)
def test_a_protected_environment_is_stricter_than_the_setting(
    setting: str, environment: str, expected: str, *, protected: bool
) -> None:
    """The setting can be given with the command, the stored environment can't."""
    assert expected == allowed(setting, environment, protected=protected)


def test_a_level_of_confirmation_counts_although_the_command_only_reads() -> None:
    """What a person must confirm, an agent may not start."""
    call = call_of("user list")
    asking = type("Asking", (type(call.command),), {"confirm": Confirm.PROMPT})()

    refused = refusal(call._replace(command=asking), situation("user list", "production"))

    assert refused is not None
    assert "agent-refused" == refused.code
