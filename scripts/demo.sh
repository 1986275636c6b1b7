#!/bin/sh
# Show the first minutes with a database: each command is printed, then run. Ends at the first failure.
#
#   scripts/demo.sh BIN    BIN is the environment's folder of programs
set -eu

cd "$(dirname "$0")/.."
PATH="$(cd "$1" && pwd):$PATH"

# A database of its own, new each time, and nothing of the settings that stand here otherwise.
rm -f demo.sqlite3 demo.sqlite3-* demo.sqlite3.locks
export DATABASE_URL=sqlite:///demo.sqlite3 MIGRATION_DATABASE_URL='' ENVIRONMENT=development

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

run python manage.py migrate
run python manage.py user create ada ada@example.com --generate-password
run python manage.py user list
run python manage.py user promote ada admin --dry-run
run python manage.py user promote ada admin --confirm
run python manage.py user promote ada admin --confirm
run python manage.py audit list
