#!/bin/sh
# Make a base image from packages of Debian and the Python of this machine, for machines that can't
# reach a registry of images. It gets the name that the Dockerfile uses.
#
#   scripts/image-base.sh PYTHON STORAGE
set -eu

python=$1
storage=$2
store() { buildah --root "$storage" --storage-driver vfs "$@"; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root

prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
modules=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platstdlib"))')

# The packages with the libraries that this Python loads. Its module for windows is left out.
packages=$(find "$prefix/bin/python$version" "$modules/lib-dynload" -type f ! -name '_tkinter*' -exec ldd {} + |
    awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    while read -r file; do
        dpkg --search "$(realpath "$file")" "$file" 2>/dev/null | cut -d : -f 1 | head -n 1
    done | sort -u | paste -s -d ,)
# Extracted and not configured: no script of a package runs. Wheels that are written in C++ load
# libstdc++, which the image of Docker has too.
# shellcheck disable=SC1091 # a file of the machine
mmdebstrap --quiet --variant=extract \
    --include="base-files,base-passwd,bash,coreutils,dash,libc-bin,libstdc++6,$packages" \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" >/dev/null

mkdir -p "$root/usr/local/bin" "$root/usr/local/lib"
cp -a "$prefix/bin/python$version" "$root/usr/local/bin/"
if [ -e "$prefix/lib/libpython$version.so.1.0" ]; then
    cp -a "$prefix/lib/libpython$version.so.1.0" "$root/usr/local/lib/"
fi
tar -C "$prefix/lib" -c --exclude=__pycache__ --exclude="python$version/test" \
    --exclude="python$version/config-*" --exclude=site-packages --exclude='_tkinter*' \
    "python$version" | tar -C "$root/usr/local/lib" -x
ln -s "python$version" "$root/usr/local/bin/python"
ln -s "python$version" "$root/usr/local/bin/python3"
chroot "$root" ldconfig
chroot "$root" python -m ensurepip --default-pip >/dev/null 2>&1

container=$(store from --quiet scratch)
store add --quiet "$container" "$root" / >/dev/null
store config --env PATH=/usr/local/bin:/usr/bin:/bin --env LANG=C.UTF-8 "$container"
store commit --quiet --rm "$container" "docker.io/library/python:$version-slim" >/dev/null
