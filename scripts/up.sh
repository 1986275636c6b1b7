#!/bin/sh
# Run the web and the worker process of the Procfile here, until Ctrl-C.
#
#   scripts/up.sh BIN    BIN is the environment's folder of programs
#
# What is set is used, from the environment or .env. What is not: the embedded SQLite file, which
# `python manage.py` uses too, and a Redis of this script's own.
#   PORT=8000            of the web process
#   UP_REDIS_PORT=6380   of that Redis
#   UP_FOLDER=.up        for its data
set -eu

cd "$(dirname "$0")/.."
PATH="$(cd "$1" && pwd):$PATH"
export PORT="${PORT:-8000}"
folder="${UP_FOLDER:-$PWD/.up}"
redis=''
processes=''

is_set() {
    eval "[ -n \"\${$1:-}\" ]" || grep -Eqs "^(export )?$1=['\"]?[^'\" ]" .env
}

start_redis() {
    port="${UP_REDIS_PORT:-6380}"
    command -v redis-server >/dev/null || {
        echo "no Redis: install one (apt-get install redis-server, brew install redis), or set" >&2
        echo "REDIS_URL=redis://host:6379/0 in .env" >&2
        exit 1
    }
    mkdir -p "$folder"
    rm -f "$folder/redis.pid" "$folder/redis.log"
    # In the background by itself: Ctrl-C is for web and worker, which need it to the end.
    redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" --save 60 1 \
        --daemonize yes --pidfile "$folder/redis.pid" --logfile "$folder/redis.log" \
        >/dev/null
    export REDIS_URL="redis://localhost:$port/0"
    until [ -s "$folder/redis.pid" ]; do
        if grep -qs 'Failed listening' "$folder/redis.log"; then
            echo "port $port is in use; take another: UP_REDIS_PORT=$((port + 1)) make up" >&2
            exit 1
        fi
        sleep 0.1
    done
    redis=$(cat "$folder/redis.pid")
}

stop() {
    trap - EXIT
    # honcho asks both to stop, and waits.
    if [ -n "$processes" ]; then
        kill -TERM "$processes" 2>/dev/null || true
        wait "$processes" 2>/dev/null || true
    fi
    [ -z "$redis" ] || kill -TERM "$redis" 2>/dev/null || true
    exit "${1:-0}"
}
trap 'stop $?' EXIT
trap 'stop 130' INT
trap 'stop 143' TERM HUP

is_set REDIS_URL || start_redis
python manage.py system health --only redis --wait 10s --quiet >/dev/null
python manage.py migrate --wait 10s

cat <<END

  web      http://localhost:$PORT/health/ready
  worker   python manage.py system health
  stop     Ctrl-C
END
[ -z "$redis" ] || echo "  elsewhere: export REDIS_URL=$REDIS_URL"
echo

honcho start web worker &
processes=$!
wait "$processes"
