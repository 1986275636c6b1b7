#!/bin/sh
# Run the tests on Redis with the newest major version of its driver, which arq still holds back.
#
#   scripts/test-redis-8.sh PYTHON
#
# The version is locked in tests/requirements-redis-8.txt. It is installed into a temporary folder
# that goes before the environment's own.
set -eu

cd "$(dirname "$0")/.."
python="$1"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    --target "$folder" -r tests/requirements-redis-8.txt
export PYTHONPATH="$folder"
"$python" -c 'import redis; assert redis.__version__.startswith("8."), redis.__version__'
# Two ways to get another client don't exist there: ARQ takes redis 5 alone, and a pool of redis 8
# has arguments that a client does not take.
"$python" -m pytest -q -n auto -k "not by_enqueueing and not with_the_settings_of_the_cache" \
    tests/servers/redis tests/commands/test_cache_*.py tests/commands/test_redis_*.py
