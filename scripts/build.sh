#!/bin/sh
# scripts/build.sh DIR 'OPTIONS' [TARGET...] - configures a build directory with meson's options and
# builds these targets in it, or everything. CONCLAVE_JOBS limits the compilers at a time.
set -eu
cd "$(dirname "$0")/.."

build=$1
options=$2
shift 2
meson=${MESON:-meson}
if [ -f "$build/build.ninja" ]; then
    "$meson" configure "$build" $options >/dev/null
else
    "$meson" setup "$build" $options
fi
exec ninja -C "$build" -j "${CONCLAVE_JOBS:-$(nproc)}" "$@"
