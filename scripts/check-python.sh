#!/bin/sh
# Check that the interpreter can create the virtual environment; if not, print what to do.
#
#   scripts/check-python.sh PYTHON
set -eu

python=$1

if ! command -v "$python" >/dev/null; then
    echo "$python was not found: install Python 3.11 or later, or choose another: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is $("$python" --version 2>&1), but 3.11 or later is needed: choose another: make PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python can't create virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2
    exit 1
fi
