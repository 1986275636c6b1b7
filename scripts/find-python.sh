#!/bin/sh
# Print the path of an interpreter of this version, from PATH, pyenv or uv; fail if there is none.
#
#   scripts/find-python.sh VERSION
set -eu

# Each candidate is run, because PATH can contain a pyenv shim for a version that is not active.
for candidate in \
    "$(command -v "python$1" || true)" \
    "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3 \
    "$HOME/.local/share/uv/python/cpython-$1".*/bin/python3; do
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
        echo "$candidate"
        exit
    fi
done
exit 1
