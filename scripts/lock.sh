#!/bin/sh
# Compile the locked requirements: requirements.txt for the image, requirements-dev.txt for
# development.
#
#   scripts/lock.sh [--upgrade]    without --upgrade, versions are kept if they still fit
set -eu

cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet uv

# Keep extras in the locks. `pytest-cov` needs `coverage[toml]`; without the extra in the lock, an
# older pip chooses the newest version, finds no hash for it, and fails.
compile() {
    output=$1
    shift
    "$tools/bin/uv" pip compile --quiet --universal --generate-hashes --no-strip-extras --python-version 3.11 \
        --extra postgres --extra sqlite --extra redis --extra arq --no-annotate --custom-compile-command "make lock" \
        "$@" pyproject.toml --output-file "$output"
}

compile requirements.txt --group app "$@"
compile requirements-dev.txt --extra parquet --extra zstd --extra shell --group app --group dev "$@"
