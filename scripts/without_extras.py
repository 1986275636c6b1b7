"""Check, in an environment without extras, that oneoff imports and that errors name the extras.

scripts/test-wheel.sh runs it twice: with `redis` installed the second time, which `arq` needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import oneoff
from oneoff import ConfigurationError

FILES = {
    "manage.py": "from oneoff.cli import main\nraise SystemExit(main('app:project'))\n",
    "app.py": (
        "from oneoff import Project\n"
        "project = Project('shop', commands=(), worker='worker:WorkerSettings')\n"
    ),
    "worker.py": "from oneoff.integrations.arq import WorkerConnection\nclass WorkerSettings: 1\n",
}
REDIS = {"REDIS_URL": "redis://127.0.0.1:1"}
LINES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("sqlite", "db status", {}),
    ("postgres", "db status", {"DATABASE_URL": "postgres://ada@127.0.0.1:1/shop"}),
    ("redis", "cache stats", REDIS),
    ("arq", "jobs run mail", REDIS),
    ("sentry", "system info", {"SENTRY_DSN": "http://key@127.0.0.1:1/1"}),
)
"""Extras, each with a command line that needs it, and with its settings."""


def main() -> None:
    """Try each extra."""
    assert all(hasattr(oneoff, name) for name in oneoff.__all__)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (Path(folder) / name).write_text(text)
        skipped = "arq" if find_spec("redis") is None else "redis"
        for extra, line, settings in LINES:
            if extra != skipped:
                check(extra, output(line, folder, settings))
    check("parquet", error_of("oneoff.services.data.arrow", ""))
    check("zstd", error_of("oneoff.services.data.files", "_compressor"))


def output(line: str, folder: str, settings: dict[str, str]) -> str:
    """Return what a command line prints."""
    environ = {"PATH": os.environ["PATH"], "HOME": folder, **settings}
    words = [sys.executable, "manage.py", *line.split()]
    done = subprocess.run(
        words, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def error_of(module: str, function: str) -> str:
    """Return what to try after the error of an import, or of a function for a file.zst."""
    try:
        loaded = __import__(module, fromlist=["x"])
        getattr(loaded, function)("file.zst")
    except ConfigurationError as exc:
        return "\n".join(exc.try_)
    return "no error"


def check(extra: str, text: str) -> None:
    """End the script if a text does not say how to install an extra."""
    if f"pip install 'oneoff[{extra}]'" not in text:
        raise SystemExit(f"the extra {extra} is not named in:\n{text}")
    print(f"without the extra {extra}: named")


main()
