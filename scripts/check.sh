#!/bin/sh
# scripts/check.sh test|lint|asan|tsan|valgrind|coverage - one kind of check, from a fresh clone to the counts.
#
# Installs what is missing, builds into a directory of its own, runs the suites, and prints as its
# last line `N passed, N failed, N skipped`: single test cases. Ends with 1 when something failed or
# nothing ran, with 2 when packages are missing and cannot be installed.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-test}
meson=${MESON:-meson}
jobs=${CONCLAVE_JOBS:-$(nproc)}
beside=$jobs # programs at a time
python=/usr/bin/python3 # Debian's own, which sees Debian's python3-zmq whatever else is in PATH
[ -x "$python" ] || python=python3

build=build
options='-Dtests=true'
targets='' # everything
later='' # what comes when that is done, if there is time
case $kind in
test)
    group=test
    suites='--no-suite lint --no-suite tidy --no-suite valgrind'
    beside=$((2 * jobs)) # nodes wait most of the time: for the disk, for each other, to be killed
    ;;
lint)
    group=lint
    suites='--suite lint'
    later='--suite tidy'
    ;;
asan)
    group=test
    build=build-asan
    # gcc's flow warnings misfire on instrumented code; the plain build has them as errors. Little
    # optimised and with line numbers alone it compiles in half the time and runs nearly as fast.
    options="$options -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false"
    options="$options -Doptimization=1 -Dc_args=-g1"
    suites='--suite core'
    targets='tests/unit/storage/test_storage tests/unit/actors/test_actors tests/unit/codec/test_codec'
    targets="$targets tests/unit/inspect/test_inspect tests/sim/conclave-sim" # what these suites run
    later='--suite unit --suite sim --suite quick --no-suite core'
    beside=$((2 * jobs))
    ;;
tsan)
    group=test
    build=build-tsan
    options="$options -Db_sanitize=thread -Db_lundef=false -Dwerror=false"
    suites='--suite stress'
    targets=tests/stress/stress
    ;;
valgrind)
    group=valgrind
    build=build-valgrind
    options="$options -Doptimization=1"
    suites='--suite valgrind' # wraps the nodes itself
    ;;
coverage)
    group=coverage
    build=build-coverage
    # Those alone that are there for raft/ and storage/; others run a part of it by the way.
    options="$options -Dcoverage=true"
    targets='tests/unit/raft/test_raft tests/unit/storage/test_storage tests/unit/inspect/test_inspect'
    targets="$targets tests/sim/conclave-sim"
    suites='raft storage sim inspect --no-suite process'
    ;;
*)
    echo "check: no kind '$kind'; kinds are test, lint, asan, tsan, valgrind, coverage" >&2
    exit 2
    ;;
esac

scripts/setup.sh "$group"

# Test programs free and allocate much, megabytes at a time where whole disks are copied. What the C
# library gives back to the system by itself it has to get again, page by page: up to ten times the
# processor time on some virtual machines.
export MALLOC_TRIM_THRESHOLD_=67108864 MALLOC_MMAP_THRESHOLD_=33554432

# The closing line must come even when nothing could be built: a build that fails is one failure.
give_up()
{
    echo "check: $1" >&2
    echo '0 passed, 1 failed, 0 skipped'
    exit 1
}

scripts/build.sh "$build" "$options" $targets || give_up "cannot configure or build $build"

# Sanitizers report into files: a report inside a forked test case does not change how Criterion
# ends, but a file that is there fails the run.
reports=$PWD/$build/sanitizer-reports
rm -rf "$reports"
mkdir -p "$reports"
common="log_path=$reports/report:print_stacktrace=1"
export ASAN_OPTIONS="$common:detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1"
export UBSAN_OPTIONS="$common:halt_on_error=1"
export TSAN_OPTIONS="$common:halt_on_error=0:second_deadlock_stack=1"

# Runs the suites named; their results go to the log of this name.
run()
{
    base=$1
    shift
    logs="$logs $build/meson-logs/$base.json"
    rm -f "$build/meson-logs/$base.json"
    "$meson" test -C "$build" --no-rebuild --num-processes "$beside" --print-errorlogs \
        --logbase "$base" "$@" || true
}

# What can wait, if there is a time by which all has to be done (CONCLAVE_UNTIL, in seconds of
# date +%s; .ci/run sets it) and it is not near: what waits takes up to twice as long as what did not, and
# the targets behind it a minute, as does what was not built yet. The lint looks at the time itself.
run_later()
{
    now=$(date +%s)
    if [ "$kind" = lint ] || [ $((now + 2 * (now - began) + 120)) -lt "${CONCLAVE_UNTIL:-9999999999}" ]; then
        [ -z "$targets" ] || scripts/build.sh "$build" "$options" || give_up "cannot build $build"
        run "$kind-later" "$@"
        return
    fi
    echo "check: no time is left for $*"
    logs="$logs $build/meson-logs/$kind-later.json"
    echo "{\"name\":\"$*\",\"result\":\"SKIP\",\"returncode\":77}" \
        >"$build/meson-logs/$kind-later.json"
}

[ "$kind" != coverage ] || find "$build" -name '*.gcda' -delete
logs=''
began=$(date +%s)
run "$kind" $suites
[ -z "$later" ] || run_later $later
if [ "$kind" = coverage ]; then
    logs="$logs $build/meson-logs/cover.json"
    "$python" tests/coverage.py --build "$build" --log "$build/meson-logs/cover.json" raft storage ||
        give_up 'cannot count the branches'
    find "$build" -name '*.gcda' -delete
fi
if [ "$kind" = valgrind ]; then
    run valgrind-unit --suite unit --timeout-multiplier 20 --wrapper "valgrind -q \
        --trace-children=yes --leak-check=full --errors-for-leak-kinds=definite \
        --show-leak-kinds=definite --log-file=$reports/valgrind.%p"
fi
exec "$python" tests/summary.py --reports "$reports" $logs
