"""Find out who runs the command, and which version of the code, from the platform's variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from oneoff.core.run import Operator

_VARIABLES = (
    # The most specific first. A CI job also has an OS user, but its operator is who pushed.
    ("OPERATOR", "setting"),
    ("GITHUB_ACTOR", "github-actions"),
    ("GITLAB_USER_LOGIN", "gitlab-ci"),
    ("DYNO", "heroku"),
    ("SUDO_USER", "sudo"),
)
_CODE_VERSIONS = ("CODE_VERSION", "SOURCE_VERSION", "HEROKU_SLUG_COMMIT", "GIT_REV", "GITHUB_SHA")


def identify(environ: Mapping[str, str]) -> Operator:
    """Return the operator, and where the name comes from."""
    for variable, source in _VARIABLES:
        if environ.get(variable):
            return Operator(name=environ[variable], source=source)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return Operator(name=environ.get("HOSTNAME", "pod"), source="kubernetes")
    return Operator(name=_os_user(), source="os-user")


def code_version(environ: Mapping[str, str], root: Path) -> str:
    """Return the commit of the running code, or an empty text if it is unknown."""
    for variable in _CODE_VERSIONS:
        if environ.get(variable):
            return environ[variable]
    return _git_commit(root / ".git")


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
