"""Create virtual environments: one for the peers and one for ours.

They are separate because a package can slow down the start of another one: structlog imports rich,
which typer installs. A third environment has both, and shows what that costs us.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import BenchmarkError

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
HOME = BENCHMARKS / ".env"

LIST_VERSIONS = (
    "import json, importlib.metadata as m; "
    "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    path: Path

    @property
    def python(self) -> Path:
        """Return the path of the interpreter."""
        return self.path / "bin" / "python"

    def versions(self) -> dict[str, str]:
        """Return the version of each installed package, by its lower-case name."""
        listed: dict[str, str] = json.loads(_run(str(self.python), "-c", LIST_VERSIONS))
        return listed


def peers() -> Environment:
    """Return the environment of the peers; create it if it is missing or its lock has changed."""
    return _locked("peers", BENCHMARKS / "requirements.txt")


def ours(builder: Environment) -> Environment:
    """Return the environment of a deployed project: the locked requirements and oneoff's wheel.

    The wheel is built from the working tree with the locked hatchling of `builder`.
    """
    return _with_oneoff(_locked("ours", REPOSITORY / "requirements.txt"), builder)


def ours_with_rich(builder: Environment) -> Environment:
    """Return an environment like `ours`, and rich in the version of the peers."""
    environment = _locked("ours-with-rich", REPOSITORY / "requirements.txt")
    if "rich" not in environment.versions():
        _pip(environment, "install", f"rich=={builder.versions()['rich']}")
        byte_compile(environment, environment.path / "lib", check=False)
    return _with_oneoff(environment, builder)


def _with_oneoff(environment: Environment, builder: Environment) -> Environment:
    stamp = environment.path / "oneoff.sha256"
    built = _digest(_framework_sources())
    if not _is_current(stamp, built):
        _install_wheel(builder, environment)
        stamp.write_text(built)
    return environment


def byte_compile(environment: Environment, folder: Path, *, check: bool = True) -> None:
    """Write the byte code of every module in `folder`."""
    _run(str(environment.python), "-m", "compileall", "-q", str(folder), check=check)


def _locked(name: str, lock: Path) -> Environment:
    environment = Environment(HOME / name)
    stamp = environment.path / "lock.sha256"
    wanted = _digest([lock], sys.version, sys.base_prefix)
    if _is_current(stamp, wanted):
        return environment
    print(f"creating {environment.path} from {lock.name} ...", file=sys.stderr, flush=True)
    shutil.rmtree(environment.path, ignore_errors=True)
    _create(environment.path)
    _pip(environment, "install", "--require-hashes", "-r", str(lock))
    # Without check: some packages contain test files that don't compile.
    byte_compile(environment, environment.path / "lib", check=False)
    stamp.write_text(wanted)
    return environment


def _create(path: Path) -> None:
    try:
        venv.create(path, with_pip=True)
    except subprocess.CalledProcessError as error:
        hint = "on Debian: apt-get install python3-venv"
        raise BenchmarkError(f"{sys.executable} can't create {path}: {error} ({hint})") from error


def _install_wheel(builder: Environment, environment: Environment) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _pip(builder, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, str(REPOSITORY))
        (wheel,) = Path(folder).glob("oneoff-*.whl")
        _pip(environment, "install", "--no-deps", "--force-reinstall", str(wheel))


def _framework_sources() -> Iterator[Path]:
    yield REPOSITORY / "pyproject.toml"
    yield from sorted((REPOSITORY / "oneoff").rglob("*.py"))


def _digest(files: Iterator[Path] | list[Path], *texts: str) -> str:
    digest = hashlib.sha256("\0".join(texts).encode())
    for file in files:
        digest.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _is_current(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


def _pip(environment: Environment, *arguments: str) -> None:
    _run(str(environment.python), "-m", "pip", "--disable-pip-version-check", "-q", *arguments)


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=_child_environment()
    )
    if check and done.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _child_environment() -> dict[str, str]:
    # Ignore PYTHONDONTWRITEBYTECODE of the shell: all sides must run from byte code.
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
