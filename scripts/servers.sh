#!/bin/sh
# Install the servers that the tests start, if this is possible without a password.
#
#   scripts/servers.sh PYTHON
set -eu

cd "$(dirname "$0")/.."
missing=$("$1" -m tests.support.servers)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $missing ..."
    apt-get update -qq
    # shellcheck disable=SC2086 # split into words: each word is a package
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
    exit 0
fi
cat >&2 <<END
the tests start their own servers, and some are not installed: $missing
  Debian, Ubuntu:  sudo apt-get install $missing
  macOS:           brew install postgresql redis pgbouncer openssl kubernetes-cli
END
exit 1
