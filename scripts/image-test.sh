#!/bin/sh
# Build the image, and test it without a container engine. Needs root, and programs of Debian.
#
#   scripts/image-test.sh PYTHON [if-possible]    PYTHON runs the tests
#
# With `if-possible` it does nothing on machines that can't run it.
#
#   IMAGE_STORAGE=.image    folder for the base image and the image; an existing base is used again
#   IMAGE_PULL=true         take the base image from its registry, and do not make one
set -eu

cd "$(dirname "$0")/.."
tests=$1
storage=${IMAGE_STORAGE:-$PWD/.image}
store() { buildah --root "$storage" --storage-driver vfs "$@"; }
version=$(cat .python-version)
base="docker.io/library/python:$version-slim"

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

install_programs() {
    missing=
    for program in buildah mmdebstrap; do
        command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -n "$missing" ] || return 0
    echo "installing$missing ..."
    apt-get update -qq
    # shellcheck disable=SC2086 # split into words: each word is a package
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
}

prepare_base() {
    ! store inspect --type image "$base" >/dev/null 2>&1 || return 0
    if [ -n "${IMAGE_PULL:-}" ]; then
        store pull --quiet "$base" >/dev/null
        return
    fi
    python=$(scripts/find-python.sh "$version") ||
        refuse "no interpreter was found for Python $version; install it: pyenv install $version"
    echo "making a base image from $python ..."
    scripts/image-base.sh "$python" "$storage"
}

# The certificates and the configuration of pip of this machine. They are mounted while the image is
# built, and are no part of it.
list_mounts() {
    for path in /etc/ssl/certs /usr/share/ca-certificates; do
        [ ! -e "$path" ] || echo "--volume=$path:$path:ro"
    done
    pip=${PIP_CONFIG_FILE:-/etc/pip.conf}
    [ ! -e "$pip" ] || echo "--volume=$pip:/etc/pip.conf:ro"
}

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    if [ "${2:-}" = if-possible ]; then
        echo "the image was not tested: that needs root, and programs of Debian"
        exit
    fi
    refuse "make image-test needs root, and programs of Debian: it mounts the image and changes the user"
fi
install_programs
mkdir -p "$storage"
prepare_base
echo "building the image ..."
# shellcheck disable=SC2046 # split into words: each word is an option
store build --quiet --isolation chroot --pull-never --format docker --tag shop $(list_mounts) \
    --build-arg CODE_VERSION="$(git rev-parse HEAD)" \
    --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" . >/dev/null

echo "the image has $(store images --format '{{.Size}}' shop), $(store images --format '{{.Size}}' "$base") of it from its base"

container=$(store from --quiet --pull-never shop)
trap 'store rm "$container" >/dev/null' EXIT
store inspect --type image shop >"$storage/shop.json"
# -s shows how long the processes took to stop.
IMAGE_ROOT=$(store mount "$container") IMAGE_CONFIG="$storage/shop.json" \
    "$tests" -m pytest -q -s -n 0 tests/image
