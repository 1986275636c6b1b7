"""The command line: arguments in, exit code out. `manage.py` calls `main`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - pip does not check a clone
    from oneoff.core.errors import ConfigurationError

    _error = ConfigurationError(
        "oneoff needs Python 3.11 or later, and this is Python "
        f"{sys.version.split()[0]} ({sys.executable})",
        try_="activate the project's virtual environment: source .venv/bin/activate",
        code="python-version",
    )
    sys.stderr.write(f"error[{_error.code}]: {_error}\n  try:  {_error.try_[0]}\n")
    raise SystemExit(int(_error.exit_code))

from oneoff.cli.process import main as main

__all__ = ["main"]
