#!/bin/sh
# Say what to do where the interpreter can't make the environment.
#
#   scripts/check-python.sh PYTHON
set -eu

python=$1

if ! command -v "$python" >/dev/null; then
    echo "$python was not found: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is $("$python" --version 2>&1), but 3.11 or later is needed: name one: make PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python can't make virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2
    exit 1
fi
