#!/bin/sh
# Compile the locked requirements: requirements.txt for the image, requirements-dev.txt for
# development, requirements-docs.txt for the site, requirements-release.txt for the workflows that
# release.
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
        --no-annotate --custom-compile-command "make lock" "$@" --output-file "$output"
}

project="pyproject.toml --extra postgres --extra sqlite --extra redis --extra arq --extra sentry --group app"
# shellcheck disable=SC2086 # split into words
compile requirements.txt $project "$@"
# shellcheck disable=SC2086
compile requirements-dev.txt $project --extra parquet --extra zstd --extra shell --group dev "$@"
compile requirements-docs.txt --group docs "$@" # without oneoff: its sources are read, not imported
compile requirements-release.txt --group release "$@"
