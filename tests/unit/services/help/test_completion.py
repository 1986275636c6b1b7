"""The candidates for completion, and the scripts of the shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oneoff.runtime.registry.registry import Registry
from oneoff.services.help.completion import SHELLS, candidates, script

ROOT = Path(__file__).resolve().parents[4]
COMMAND = '''
from enum import Enum
from typing import Literal

from oneoff import Access, Argument, BaseCommand, Confirm, DryRun, Option, Result, Secret, SecretStr


class Role(Enum):
    USER = "user"
    ADMIN = "admin"


class Promote(BaseCommand):
    """Give a user another role."""

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK

    user: str = Argument(help="Who.")
    role: Role = Argument(help="What.")
    more: list[Literal["one", "two"]] = Argument(default=[], help="And.")
    kind: str = Option(default="a", short="k", choices=("apple", "pear"), help="Which.")
    password: SecretStr = Secret(help="The password.", env="PASSWORD")

    async def handle(self) -> Result:
        return Result.changed("done")
'''
MANAGE = """
import sys

from oneoff.services.help.completion import candidates
from oneoff.runtime.registry.registry import Registry

words = sys.argv[sys.argv.index("--") + 1 :]
print("\\n".join(candidates(Registry(("seventh",), {root!r}), words)))
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with `user promote`, `user-list` and a broken command."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "seventh" / "user"
    folder.mkdir(parents=True)
    (tmp_path / "seventh" / "__init__.py").write_text("")
    (folder / "promote.py").write_text(COMMAND)
    (folder / "_base.py").write_text("raise RuntimeError")
    (tmp_path / "seventh" / "user_list.py").write_text("raise RuntimeError")
    for program in ("manage.py", "other.py"):
        (tmp_path / program).write_text(MANAGE.format(root=str(tmp_path)))
    return tmp_path


@pytest.fixture
def registry(root: Path) -> Registry:
    """Return the registry of that project."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "seventh"]:
        del sys.modules[name]  # it is in the folder of an earlier test
    return Registry(("seventh",), str(root))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("", ["help", "user", "user-list"]),
        ("us", ["user", "user-list"]),
        ("user ", ["promote"]),
        ("--json us", ["user", "user-list"]),
        ("help ", ["user", "user-list"]),
        ("help user ", ["promote"]),
        ("--no", ["--no-color", "--no-input"]),
        ("--vers", ["--version"]),
        ("user promote ada ", ["admin", "user"]),
        ("user promote ada a", ["admin"]),
        ("user promote --json ada --reason x a", ["admin"]),
        ("user promote ada admin ", ["one", "two"]),
        ("user promote ada admin one t", ["two"]),
        ("user promote x --d", ["--debug", "--dry-run"]),
        ("user promote --pass", ["--password-stdin"]),
        ("user promote --kind ", ["apple", "pear"]),
        ("user promote -k p", ["pear"]),
        ("user promote --kind=p", ["--kind=pear"]),
        ("user promote --kind =", ["apple", "pear"]),
        ("user promote --kind = p", ["pear"]),
        ("user promote x -- -", []),
        ("user promote --reason ", []),
        ("user-list --", []),
        ("nonsense ", []),
    ],
)
def test_candidates_for_the_last_word(registry: Registry, line: str, offered: list[str]) -> None:
    """Names of commands, options, and choices of options and arguments."""
    assert offered == candidates(registry, line.split(" "))


def test_completing_a_name_imports_no_command(registry: Registry) -> None:
    """File names are enough."""
    candidates(registry, ["user", "pro"])

    assert "seventh.user.promote" not in sys.modules


def bash(root: Path, words: str, current: int) -> list[str]:
    """Press the tab key in a real bash."""
    commands = f"""
        source <({sys.executable} -c \
            'from oneoff.services.help.completion import script; print(script("bash"))')
        COMP_WORDS=({words}) COMP_CWORD={current}
        _oneoff_complete
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--norc", "-c", commands],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "" == done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("manage.py us", ["user", "user-list"]),
        ("manage.py user ''", ["promote"]),
        ("manage.py user promote ada a", ["admin"]),
        ("manage.py user promote --kind = p", ["pear"]),
        ("other.py us", []),
    ],
)
def test_bash_completes_manage_py(root: Path, words: str, offered: list[str]) -> None:
    """With the words as bash splits them. Other scripts are not completed."""
    count = len(words.split())

    assert offered == bash(root, f"{sys.executable} {words}", count)


def test_bash_completes_the_program_itself(root: Path) -> None:
    """If it is executable and the first word of the line."""
    program = root / "manage.py"
    program.write_text(f"#!{sys.executable}\n{program.read_text()}")
    program.chmod(0o755)

    assert ["promote"] == bash(root, "./manage.py user p", 2)


PRESS_TAB = {
    "fish": "source {script}; complete -C '{line}'",
    "zsh": (
        "autoload -Uz compinit; compinit -u; source {script}; compadd() {{ shift; print -l $@ }}; "
        "words=({line} ''); CURRENT=$#words; _oneoff_complete"
    ),
}
"""How the tab key is pressed in a script of a shell."""


@pytest.mark.parametrize("shell", PRESS_TAB)
@pytest.mark.parametrize(
    ("line", "offered"), [("user ", ["promote"]), ("user promote ada ", ["admin", "user"])]
)
def test_zsh_and_fish_complete_manage_py(
    root: Path, shell: str, line: str, offered: list[str]
) -> None:
    """With the words as each splits them, and without an error."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    path = root / "script"
    path.write_text(script(shell))
    press = PRESS_TAB[shell].format(script=path, line=f"{sys.executable} manage.py {line}")

    done = subprocess.run(
        [program, *(["-f"] if shell == "zsh" else []), "-c", press],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert (offered, "") == (done.stdout.split(), done.stderr)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_accepts_the_syntax_of_its_script(shell: str, tmp_path: Path) -> None:
    """The shell itself checks it."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell, "admin.py"))

    done = subprocess.run([program, "-n", str(path)], capture_output=True, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert "@PROGRAM@" not in path.read_text()
    assert "admin.py" in path.read_text()


def test_the_forms_of_rows_are_candidates() -> None:
    """`--as` is an option of every command that only reads."""
    registry = Registry.of_project((), str(ROOT))

    assert ["csv", "json", "table"] == sorted(candidates(registry, ["audit", "list", "--as", ""]))
