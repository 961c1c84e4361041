#!/bin/sh
# scripts/soak.sh [OPTIONS of tests/sim/soak.py] - hours of the simulator on seeds that nobody has seen.
#
# Builds it twice, plain and with sanitizers. What fails is stored in soak-failures/. The last line is
# `N passed, N failed, N skipped`: seeds.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh test
target=tests/sim/conclave-sim
if ! scripts/build.sh build -Dtests=true $target ||
    ! scripts/build.sh build-asan \
        '-Dtests=true -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false' $target; then
    echo 'soak: cannot build the simulator' >&2
    echo '0 passed, 1 failed, 0 skipped'
    exit 1
fi
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
python=/usr/bin/python3
[ -x "$python" ] || python=python3
exec "$python" tests/sim/soak.py --sim build/$target --sanitized build-asan/$target "$@"
