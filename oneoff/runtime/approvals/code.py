"""Tell which code is running: an approval is for one version of it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from oneoff.config.operator_identity import declared_version

_CHANGES = ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv")
_NEW_FILES = ("ls-files", "--others", "--exclude-standard", "-z", "--", "*.py")
_FLAGS = ("ls-files", "-v", "-z", "--", ":/")
_SHOWN = 12  # digits of the hash of uncommitted changes


def running_code(environ: Mapping[str, str], root: Path) -> str:
    """Return the version of the running code; empty if it is unknown.

    In a working tree of git with uncommitted changes it has a hash of them: what changes a tracked
    file, and new Python files. It is unknown without the program git, and if git is told not to
    look at a file (`assume-unchanged`, `skip-worktree`).

    Args:
        environ: The variables of this process.
        root: The folder of the project.
    """
    git = shutil.which("git", path=environ.get("PATH"))
    declared = declared_version(environ)
    if declared or git is None:
        return declared
    try:
        commit, changes, new, flags = (
            _output(git, root, environ, *arguments)
            for arguments in (("rev-parse", "HEAD"), _CHANGES, _NEW_FILES, _FLAGS)
        )
        if any(entry[:1].islower() or entry[:1] == b"S" for entry in flags.split(b"\0")):
            return ""
        digest = hashlib.sha256(changes)
        for name in filter(None, sorted(new.split(b"\0"))):
            digest.update(name + (root / name.decode(errors="surrogateescape")).read_bytes())
    except (OSError, subprocess.CalledProcessError):
        return ""
    version = commit.decode().strip()
    return f"{version}+{digest.hexdigest()[:_SHOWN]}" if changes or new else version


def _output(git: str, root: Path, environ: Mapping[str, str], *arguments: str) -> bytes:
    # GIT_DIR and others would lead to another repository.
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    command = [git, "-C", str(root), *arguments]
    return subprocess.run(
        command, env=kept, stdin=subprocess.DEVNULL, capture_output=True, check=True
    ).stdout
