#!/bin/sh
# Run the Redis tests with redis-py 8, which arq does not allow yet.
#
#   scripts/test-redis-8.sh PYTHON
#
# The version is locked in tests/requirements-redis-8.txt. It is installed into a temporary folder
# that precedes the environment on the import path.
set -eu

cd "$(dirname "$0")/.."
python="$1"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    --target "$folder" -r tests/requirements-redis-8.txt
export PYTHONPATH="$folder"
"$python" -c 'import redis; assert redis.__version__.startswith("8."), redis.__version__'
# Two ways to open a client are left out: ARQ works with redis-py 5 only, and a pool of redis-py 8
# has arguments that a client does not accept. `-k` selects by parts of test names and ids.
"$python" -m pytest -q -n auto -k "not by_enqueueing and not with_the_settings_of_the_cache" \
    tests/servers/redis tests/commands/test_cache_*.py tests/commands/test_redis_*.py
