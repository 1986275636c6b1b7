"""Run processes in the image that `make image-test` built and mounted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# Without the script no image is there, and `make test` leaves these tests out.
collect_ignore_glob = [] if "IMAGE_ROOT" in os.environ else ["test_*.py"]

_START = """\
set -eu
mount --bind "$1" "$1"
mount --rbind --make-rprivate /dev "$1/dev"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/tmp"
mount -o remount,bind,ro "$1"
cd "$1"
root=$1 user=$2
shift 2
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
"""
"""Mount the root of the image read-only, and replace this shell by the process of the image."""

Start = Callable[..., "Container"]


class Container:
    """A process of the image: process 1 of its own namespace, on a read-only root.

    Args:
        root: The mounted image.
        config: The configuration of the image.
        words: The command line.
        environ: Variables in addition to those of the image.
    """

    def __init__(
        self,
        root: Path,
        config: Mapping[str, Any],
        words: Sequence[str],
        environ: Mapping[str, str],
    ) -> None:
        variables = [*config["Env"], *(f"{name}={value}" for name, value in environ.items())]
        folder = f"--chdir={config['WorkingDir']}"
        self.process = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork"),
                *("sh", "-c", _START, "sh", root, config["User"]),
                *("env", "-i", folder, *variables, *words),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def first(self) -> int:
        """The process 1 of the container, as it is numbered outside."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit code, standard output and standard error."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """End process 1, and with it all processes of its namespace."""
        if self.process.poll() is None:
            with suppress(ValueError, ProcessLookupError):  # it is not started yet, or has ended
                os.kill(self.first, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder in which the image is mounted."""
    return Path(os.environ["IMAGE_ROOT"])


@pytest.fixture(scope="session")
def config() -> dict[str, Any]:
    """Return the configuration of the image."""
    described = json.loads(Path(os.environ["IMAGE_CONFIG"]).read_text())
    found: dict[str, Any] = described["Docker"]["config"]
    return found


@pytest.fixture
def start(root: Path, config: dict[str, Any], postgres_url: str, redis_url: str) -> Iterator[Start]:
    """Return a function that starts a process of the image, with the settings of a deployment.

    The processes end before their database is dropped, which would wait for them.
    """
    environ = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "ENVIRONMENT": "test",
        "MAIL_URL": "file:/tmp/outbox",
    }
    started: list[Container] = []

    def start(words: str, **more: str) -> Container:
        started.append(Container(root, config, words.split(), {**environ, **more}))
        return started[-1]

    yield start
    for container in started:
        container.kill()
