#!/bin/sh
# scripts/torture.sh [OPTIONS of tests/torture/torture.py] - real nodes under faults, and what their clients saw, checked.
#
# The last line is `N passed, N failed, N skipped`: seeds.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh torture
if ! scripts/build.sh build -Dtests=true cli/conclave; then
    echo 'torture: cannot build the program' >&2
    echo '0 passed, 1 failed, 0 skipped'
    exit 1
fi
python=/usr/bin/python3
[ -x "$python" ] || python=python3
CONCLAVE=$PWD/build/cli/conclave exec "$python" -B tests/torture/torture.py "$@"
