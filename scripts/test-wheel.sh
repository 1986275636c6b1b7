#!/bin/sh
# Install the wheel into empty environments, and run the unit tests there.
#
#   scripts/test-wheel.sh VERSION...
#
# For each version of Python there are four environments: with the lowest versions that
# pyproject.toml allows and that have a wheel for this Python; with the highest, once with arq and
# its redis 5, and once with redis 8 and without arq; and one without extras, in which each error
# has to name the extra that is missing. WORKERS is the number of pytest's processes.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in "$@"; do
    scripts/find-python.sh "$version" >/dev/null || {
        echo "no interpreter was found for Python $version; install it, for example with pyenv" >&2
        exit 1
    }
done
"$(scripts/find-python.sh "$1")" -m venv "$work/tools"
"$work/tools/bin/python" -m pip install --quiet uv
uv=$work/tools/bin/uv

"$uv" build --quiet --wheel --out-dir "$work/dist" .
wheel=$(echo "$work"/dist/*.whl)
# The tests must import the installed package, so its source is not beside them. Those of the
# repository itself are left out.
mkdir "$work/project"
cp -R pyproject.toml .env.example app commands migrations alembic.ini manage.py tests docs "$work/project"
rm -r "$work/project/tests/unit/house"

tests="pytest pytest-asyncio pytest-xdist hypothesis httpx duckdb psycopg[binary]
    argon2-cffi email-validator fastapi uvicorn"

# environment NAME VERSION REQUIREMENT...
environment() {
    env=$work/$1
    "$uv" venv --quiet --python "$("$root/scripts/find-python.sh" "$2")" "$env"
    shift 2
    # shellcheck disable=SC2086 # a list of requirements
    "$uv" pip install --quiet --python "$env/bin/python" --only-binary :all: "$@" $tests
}

# unit_tests NAME ARGUMENT...
unit_tests() {
    python=$work/$1/bin/python
    echo "== $1: $("$uv" pip freeze --python "$python" | grep -E '^(sqlalchemy|alembic|structlog|pydantic-settings|asyncpg|aiosqlite|redis|arq|sentry-sdk)==' | tr '\n' ' ')"
    shift
    (cd "$work/project" && "$python" -m pytest -q -n "${WORKERS:-auto}" "$@" tests/unit) || failed=1
}

failed=0
for version in "$@"; do
    # Only the requirements of the wheel are the lowest: not those of the project and of the tests.
    lowest=$work/lowest-$version.txt
    "$uv" pip compile --quiet --no-header --no-annotate --python-version "$version" \
        --only-binary :all: --extra all --resolution lowest-direct pyproject.toml \
        --output-file "$lowest"
    environment "lowest-$version" "$version" "$wheel[all]" --constraint "$lowest"
    unit_tests "lowest-$version"

    environment "highest-$version" "$version" "$wheel[all]"
    unit_tests "highest-$version"

    extras=postgres,sqlite,redis,parquet,zstd,shell,sentry
    environment "redis-8-$version" "$version" "$wheel[$extras]" "redis>=8"
    unit_tests "redis-8-$version" --ignore tests/unit/services/jobs \
        --ignore tests/unit/integrations/arq --ignore tests/unit/app

    "$uv" venv --quiet --python "$("$root/scripts/find-python.sh" "$version")" "$work/bare-$version"
    "$uv" pip install --quiet --python "$work/bare-$version/bin/python" "$wheel"
    (cd "$work" && "bare-$version/bin/python" "$root/scripts/without_extras.py")
    "$uv" pip install --quiet --python "$work/bare-$version/bin/python" redis # which arq needs
    (cd "$work" && "bare-$version/bin/python" "$root/scripts/without_extras.py")
done
exit "$failed"
