"""Which code is running, for an approval."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from oneoff.runtime.approvals.code import running_code
from oneoff.runtime.approvals.terms import Terms

ENVIRON = {"PATH": os.environ["PATH"]}
AUTHOR = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")


def git(root: Path, *arguments: str) -> str:
    """Run git in a folder, and return what it prints."""
    done = subprocess.run(
        ["git", "-C", root, *AUTHOR, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a working tree with one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "app.py").write_text("one = 1\n")
    (tmp_path / ".gitignore").write_text("*.sqlite3\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_a_clean_tree_is_its_commit(clone: Path) -> None:
    """Files that are ignored, and others than those of Python, change nothing."""
    (clone / "shop.sqlite3").write_text("rows")
    (clone / "shop.dump").write_text("rows")

    assert git(clone, "rev-parse", "HEAD") == running_code(ENVIRON, clone)


def test_each_uncommitted_change_is_another_version(clone: Path) -> None:
    """A changed line, another one, a staged one, and a new module; the same change is the same."""
    commit, found = git(clone, "rev-parse", "HEAD"), []
    for text in ("one = 2\n", "one = 3\n"):
        (clone / "app.py").write_text(text)
        found.append(running_code(ENVIRON, clone))
    git(clone, "add", "app.py")
    assert found[-1] == running_code(ENVIRON, clone)
    for text in ("new = 1\n", "new = 2\n"):
        (clone / "new.py").write_text(text)
        found.append(running_code(ENVIRON, clone))

    assert [f"{commit}+"] * 4 == [version[:41] for version in found]
    assert 4 == len({*found})


def test_a_variable_names_the_version_of_an_image(clone: Path) -> None:
    """Git is not asked then."""
    assert "v1" == running_code({**ENVIRON, "CODE_VERSION": "v1"}, clone)


def test_without_the_program_git_the_version_is_unknown(clone: Path) -> None:
    """Changes can't be seen, so it must not be the version that was approved."""
    (clone / "app.py").write_text("one = 2\n")

    assert "" == running_code({"PATH": str(clone)}, clone)


@pytest.mark.parametrize(
    "flags",
    [["--assume-unchanged"], ["--skip-worktree"], ["--assume-unchanged", "--skip-worktree"]],
)
def test_a_file_whose_changes_git_hides_makes_the_version_unknown(
    clone: Path, flags: list[str]
) -> None:
    """Also outside of the project's folder, as the changes of other files do."""
    (clone / "project").mkdir()
    for flag in flags:
        git(clone, "update-index", flag, "app.py")
    (clone / "app.py").write_text("one = 2\n")

    assert "" == git(clone, "diff", "HEAD")
    assert "" == running_code(ENVIRON, clone / "project")


def test_a_folder_that_git_does_not_know_is_unknown_and_never_the_same(tmp_path: Path) -> None:
    """Two unknown versions are not the same one."""
    version = running_code(ENVIRON, tmp_path)
    terms = Terms("wipe", "[]", "shop@production", "production", version)

    assert ["code version unknown, approved: unknown"] == terms.differences(terms)
