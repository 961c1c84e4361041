#!/bin/sh
# scripts/setup.sh GROUP... - installs the Debian packages of the groups that are not there yet.
#
# Groups: build (to build and run), test (make test), lint (make lint), valgrind, coverage, torture, all; and
# peers (what `conclave bench --target etcd|nats` measures, which is in none of the others).
# Does nothing, and needs neither root nor a network, when everything is there. Without root it
# prints the one line to run and ends with 2.
set -eu

build='gcc libc6-dev make meson ninja-build pkg-config
       libzmq3-dev libmsgpack-dev liblmdb-dev libjemalloc-dev libxxhash-dev libzstd-dev libjansson-dev uthash-dev'
test='libcriterion-dev python3 python3-zmq python3-msgpack clang-format binutils patch
      chromium-headless-shell'
lint='clang-format clang-tidy clang libclang-rt-14-dev'
valgrind='valgrind'
torture='iproute2 util-linux'
peers='etcd-server nats-server golang-go golang-etcd-server-dev golang-github-nats-io-go-nats-dev'

wanted=''
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $build $test" ;;
    lint) wanted="$wanted $build $test $lint" ;;
    valgrind) wanted="$wanted $build $test $valgrind" ;;
    coverage) wanted="$wanted $build $test" ;; # gcov comes with gcc
    torture) wanted="$wanted $build $test $torture" ;;
    peers) wanted="$wanted $peers" ;;
    all) wanted="$wanted $build $test $lint $valgrind $torture" ;;
    *)
        echo "setup: no group '$group'; groups are build, test, lint, valgrind, coverage, torture, peers, all" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg >/dev/null 2>&1; then
    echo "setup: not a Debian system; these must be there (Debian's names):" $wanted >&2
    exit 0
fi

missing=''
for package in $wanted; do
    case " $missing " in *" $package "*) continue ;; esac
    if ! dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed'; then
        missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo 'setup: packages are missing. Run this line, then the command again:' >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 2
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT

install_missing()
{
    apt-get install -y -q --no-install-recommends -o Acquire::Retries=3 \
        -o DPkg::Lock::Timeout=300 $missing >"$log" 2>&1
}

update_lists()
{
    apt-get update -q -o Acquire::Retries=3 >"$log" 2>&1
}

echo "setup: installing$missing" >&2
# The package lists may be there and fresh enough: first try without fetching them.
if install_missing; then
    exit 0
fi
for pause in 0 5 20; do
    sleep $pause
    if update_lists && install_missing; then
        exit 0
    fi
done
cat "$log" >&2
echo 'setup: apt-get failed, see above; check the network and the package sources' >&2
exit 2
