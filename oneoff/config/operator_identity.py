"""Find out who runs the command, an agent too, and which version of the code, from variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from oneoff.core.run import Operator

_VARIABLES = (
    # The most specific first. A CI job also has an OS user, but its operator is who pushed.
    ("ONEOFF_OPERATOR", "setting"),
    ("OPERATOR", "setting"),
    ("GITHUB_ACTOR", "github-actions"),
    ("GITLAB_USER_LOGIN", "gitlab-ci"),
    ("DYNO", "heroku"),
    ("SUDO_USER", "sudo"),
)
AGENT_VARIABLES = {
    "AI_AGENT": "",
    "AGENT": "",
    "CLAUDECODE": "claude-code",
    "CLAUDE_CODE": "claude-code",
    "CODEX_SANDBOX": "codex",
    "CODEX_THREAD_ID": "codex",
    "CODEX_CI": "codex",
    "CURSOR_AGENT": "cursor",
    "GEMINI_CLI": "gemini-cli",
    "COPILOT_CLI": "copilot",
    "OPENCODE": "opencode",
    "OPENCODE_CLIENT": "opencode",
    "AMP_CURRENT_THREAD_ID": "amp",
    "AUGMENT_AGENT": "augment",
    "ANTIGRAVITY_AGENT": "antigravity",
    "CLINE_ACTIVE": "cline",
    "GOOSE_TERMINAL": "goose",
}
"""The variables that coding agents set for the processes that they start, with the agents' names.

Without a name, the value of the variable is the name. The first variable that is set counts. Those
of an editor's terminal, where people type too, and those in which people configure an agent are not
in the table."""
_NO = frozenset({"", "0", "false", "no", "off"})
_YES = frozenset({"1", "true", "yes", "on"})
_CODE_VERSIONS = ("CODE_VERSION", "SOURCE_VERSION", "HEROKU_SLUG_COMMIT", "GIT_REV", "GITHUB_SHA")


def identify(environ: Mapping[str, str]) -> Operator:
    """Return the operator, and where the name comes from."""
    for variable, source in _VARIABLES:
        # "ada " is nobody else than "ada".
        if name := environ.get(variable, "").strip():
            return Operator(name=name, source=source)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return Operator(name=environ.get("HOSTNAME", "pod"), source="kubernetes")
    return Operator(name=_os_user(), source="os-user")


def agent_of(environ: Mapping[str, str]) -> str:
    """Return the name of the coding agent that started this process; empty if none did.

    Args:
        environ: The variables of the process. Those of `.env` are for the application.
    """
    for variable, name in AGENT_VARIABLES.items():
        value = environ.get(variable, "").strip()
        if value.lower() not in _NO:
            return name or (value if value.lower() not in _YES else "unknown")
    return ""


def code_version(environ: Mapping[str, str], root: Path) -> str:
    """Return the commit of the running code, or an empty text if it is unknown."""
    return declared_version(environ) or _git_commit(root / ".git")


def declared_version(environ: Mapping[str, str]) -> str:
    """Return the version of the code that a variable names; empty if none does."""
    return next(filter(None, map(environ.get, _CODE_VERSIONS)), "")


def _os_user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # the user of a container may have only a number
        return f"uid {os.getuid()}"


def _git_commit(folder: Path) -> str:
    """Read HEAD from the files, because starting git takes longer than a small command."""
    try:
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        loose = folder / name
        if loose.is_file():
            return loose.read_text().strip()
        packed = (folder / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(" " + name)), "")
    except OSError:
        return ""
