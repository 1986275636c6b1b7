#!/bin/sh
# Show the first commands with a database. Each command is printed and then run. Stops at the first
# failure.
#
#   scripts/demo.sh BIN    BIN is the bin folder of the virtual environment
set -eu

cd "$(dirname "$0")/.."
PATH="$(cd "$1" && pwd):$PATH"

# Use a new database each time, and ignore the settings of the environment and .env.
rm -f demo.sqlite3 demo.sqlite3-* demo.sqlite3.locks
export DATABASE_URL=sqlite:///demo.sqlite3 MIGRATION_DATABASE_URL='' ENVIRONMENT=development
export LOG_FORMAT="${LOG_FORMAT:-text}"

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
