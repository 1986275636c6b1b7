#!/bin/sh
# Run the web and the worker process of the Procfile until Ctrl-C.
#
#   scripts/up.sh BIN    BIN is the bin folder of the virtual environment
#
# The settings come from the environment or .env. Without DATABASE_URL the processes use the same
# SQLite file as `python manage.py`. Without REDIS_URL this script starts a Redis.
#   PORT=8000            port of the web process
#   UP_HOST=127.0.0.1    its address; the default makes it unreachable from other machines
#   UP_REDIS_PORT=6380   port of the Redis that this script starts
#   UP_FOLDER=.up        folder for the data of that Redis
set -eu

cd "$(dirname "$0")/.."
PATH="$(cd "$1" && pwd):$PATH"
folder="${UP_FOLDER:-$PWD/.up}"
redis=''
processes=''

# Print a setting as the processes read it: from the environment, or else from .env.
setting() {
    python -c 'import sys
from pathlib import Path
from app.project import project
from oneoff.config.settings import load_config
print(load_config(Path.cwd(), project).environ.get(sys.argv[1], "").strip() or sys.argv[2])' "$1" "$2"
}

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_free() {
    python -c 'import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((sys.argv[1], int(sys.argv[2])))
    except OSError:
        sys.exit(1)' "$1" "$2"
}

# Check before anything is started: a second `make up` in the same folder would take over the Redis
# of the first one.
check_ports() {
    running=$(cat "$folder/redis.pid" 2>/dev/null || true)
    if [ -n "$running" ] && kill -0 "$running" 2>/dev/null; then
        refuse "make up is already running here: its Redis is process $running" \
            "stop it, or use other ports and another folder:" \
            "PORT=$((PORT + 1)) UP_REDIS_PORT=$((redis_port + 1)) UP_FOLDER=.up2 make up"
    fi
    is_free "$host" "$PORT" ||
        refuse "port $PORT is in use; use another: PORT=$((PORT + 1)) make up"
    [ -n "$REDIS_URL" ] || is_free 127.0.0.1 "$redis_port" ||
        refuse "port $redis_port is in use; use another: UP_REDIS_PORT=$((redis_port + 1)) make up"
}

start_redis() {
    command -v redis-server >/dev/null ||
        refuse "no Redis was found: install it (apt-get install redis-server, brew install redis), or set" \
            "REDIS_URL=redis://host:6379/0 in .env"
    rm -f "$folder/redis.pid" "$folder/redis.log"
    # As a daemon, so that Ctrl-C does not stop it: web and worker need it until they have stopped.
    redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$folder" --save 60 1 \
        --daemonize yes --pidfile "$folder/redis.pid" --logfile "$folder/redis.log" \
        >/dev/null
    until [ -s "$folder/redis.pid" ]; do
        ! grep -qs 'Failed listening' "$folder/redis.log" ||
            refuse "port $redis_port is in use; see $folder/redis.log"
        sleep 0.1
    done
    redis=$(cat "$folder/redis.pid")
    REDIS_URL="redis://localhost:$redis_port/0"
}

stop() {
    # A second signal would interrupt the wait below.
    trap - EXIT
    trap '' INT TERM HUP
    # honcho asks both processes to stop, and waits for them. Redis is stopped after them.
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

PORT=$(setting PORT 8000)
host=$(setting UP_HOST 127.0.0.1)
redis_port=$(setting UP_REDIS_PORT 6380)
REDIS_URL=$(setting REDIS_URL '')
LOG_FORMAT=$(setting LOG_FORMAT text)
export PORT REDIS_URL LOG_FORMAT
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
check_ports
[ -n "$REDIS_URL" ] || start_redis
python manage.py system health --only redis --wait 10s --quiet >/dev/null
python manage.py migrate --wait 10s

cat <<END

  web        http://localhost:$PORT/health/ready
END
[ -z "$redis" ] || echo "  elsewhere  export REDIS_URL=$REDIS_URL"
cat <<END
  worker     python manage.py system health
  stop       Ctrl-C

END

# `-e /dev/null`: each process reads .env itself. honcho would let .env override the environment.
sed "s/--host 0.0.0.0/--host $host/" Procfile >"$folder/Procfile"
# In a session of its own: Ctrl-C signals all processes of the terminal, and honcho fails if it gets
# that signal and the one of `stop` at the same time.
python -c 'import os, sys
os.setsid()
os.execvp(sys.argv[1], sys.argv[1:])' \
    honcho -e /dev/null -d "$PWD" -f "$folder/Procfile" start web worker &
processes=$!
wait "$processes"
