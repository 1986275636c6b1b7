#!/bin/sh
# Run the tests on several versions of Python, each in a separate environment.
#
#   scripts/test-matrix.sh VERSION...
set -eu

cd "$(dirname "$0")/.."

missing=
for version in "$@"; do
    scripts/find-python.sh "$version" >/dev/null || missing="$missing $version"
done
if [ -n "$missing" ]; then
    echo "no interpreter was found for Python$missing; install it, for example with pyenv:" >&2
    for version in $missing; do echo "  pyenv install $version" >&2; done
    exit 1
fi

for version in "$@"; do
    echo "== Python $version"
    make test VENV=".venv-$version" PYTHON="$(scripts/find-python.sh "$version")"
done
