#!/bin/sh
# Run the tests on several versions of Python, each in a separate environment.
#
#   scripts/test-matrix.sh VERSION...
set -eu

cd "$(dirname "$0")/.."

# Print the path of an interpreter of this version, from PATH, pyenv or uv. Each candidate is run,
# because PATH can contain a pyenv shim for a version that is not active.
find_python() {
    for candidate in \
        "$(command -v "python$1" || true)" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3 \
        "$HOME/.local/share/uv/python/cpython-$1".*/bin/python3; do
        if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

missing=
for version in "$@"; do
    find_python "$version" >/dev/null || missing="$missing $version"
done
if [ -n "$missing" ]; then
    echo "no interpreter was found for Python$missing; install it, for example with pyenv:" >&2
    for version in $missing; do echo "  pyenv install $version" >&2; done
    exit 1
fi

for version in "$@"; do
    echo "== Python $version"
    make test VENV=".venv-$version" PYTHON="$(find_python "$version")"
done
