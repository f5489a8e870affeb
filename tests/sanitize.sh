#!/usr/bin/env bash
# Native and Python tests under sanitizers.
# usage: tests/sanitize.sh            ASan and UBSan: every native test, and the Python tests that drive native code
#        tests/sanitize.sh --quick    ASan and UBSan: Python tests of calls, processes and messages only; no native test is built
#        tests/sanitize.sh --smoke    ASan and UBSan: shared memory, images, wire frames and images of the vector index, and the corpora of their fuzz targets
#        tests/sanitize.sh --thread   TSan: native tests of stub, transport, data plane and vector index
# Everything is built below $MRPC_BUILD/sanitize (build/sanitize); the working tree's own modules are not touched.
#
# Leaks are not looked for in Python processes: CPython itself frees neither interned objects nor static types at its end. Native
# tests do look for them. TSan cannot see a race between two processes, or between two mappings of one memfd, which have addresses
# of their own: there it watches the threads of each side.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${MRPC_BUILD:-$root/build}/sanitize
jobs=${JOBS:-$(nproc)}
mode=${1:-full}
launcher=$(command -v ccache || true)

# build DIR SANITIZERS CMAKE-ARGUMENTS... -- TARGETS...
build() {
  local tree=$1 sanitizers=$2 arguments=()
  shift 2
  while [ "$1" != -- ]; do arguments+=("$1"); shift; done
  shift
  mkdir -p "$out"
  cmake -S "$root" -B "$tree" -G Ninja -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" -DCMAKE_BUILD_TYPE=Sanitize -DCMAKE_CXX_FLAGS="-O1 -g1" \
    -DMRPC_TESTS=ON -DMRPC_SANITIZE="$sanitizers" "${arguments[@]}" > "$tree.log" 2>&1 &&
    cmake --build "$tree" -j "$jobs" --target "${@:-all}" >> "$tree.log" 2>&1 || { tail -n 40 "$tree.log"; exit 1; }
}

if [ "$mode" = --thread ]; then
  # -Wno-tsan: TSan takes no notice of fences. Ours order a doorbell's two flags, both atomic; no plain memory relies on them.
  targets=(stub_test dataplane_test dataplane_policy_test transport_{local,fake,tcp,tcp_hostile,session}_test curator_test)
  build "$out/thread" thread -DMRPC_PYTHON=OFF -DCMAKE_CXX_FLAGS="-O1 -g1 -Wno-tsan" -- "${targets[@]}"
  # TSan of gcc 12 knows where shared memory lies only without address randomisation.
  TSAN_OPTIONS=halt_on_error=1 setarch -R ctest --test-dir "$out/thread" --output-on-failure -R "^($(IFS='|'; echo "${targets[*]}"))\$"
  exit
fi

if [ "$mode" = --smoke ]; then
  # What needs no data plane, whose build alone takes longer than `make test` can spare.
  targets=(shm_test test_message message_{schema,verify,transcode} transport_frame vectordb_image)
  build "$out/smoke" address,undefined -DMRPC_PYTHON=OFF -- "${targets[@]}"
  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    ctest --test-dir "$out/smoke" --output-on-failure -j "$jobs" -R "^($(IFS='|'; echo "${targets[*]}"))\$"
  exit
fi

# Python packages beside sanitized modules. Commands run there, because Python looks in the current folder first.
python=$(command -v python)
overlay=$out/overlay
rm -rf "$overlay/mrpc_service" "$overlay/stubs"
mkdir -p "$overlay"
cp -r "$root/stubs" "$root/mrpc_service" "$overlay"
find "$overlay" -name '*.so' -delete
ln -sfn "$root/proto" "$overlay/proto"  # from which a test generates anew
ln -sfn "$root/native" "$overlay/native"  # whose policy/abi.h goes into compiled policies
ln -sfn "$root/policies" "$overlay/policies"
# ASan takes more addresses than the limit that a policy's compiler runs under.
cat > "$overlay/sitecustomize.py" <<'END'
import resource

limit = resource.setrlimit
resource.setrlimit = lambda what, limits: None if what == resource.RLIMIT_AS else limit(what, limits)
END
modules=(-DMRPC_PYTHON=ON "-DMRPC_MODULE_DIR=$overlay/stubs" "-DPython_EXECUTABLE=$python")
targets=(_native _dataplane)
[ "$mode" = --quick ] || targets=(all)
build "$out/tree" address,undefined "${modules[@]}" -- "${targets[@]}"

# Each process writes what it finds to a file of its own, so that a daemon that nobody asks cannot keep it to itself.
reports=$out/reports
rm -rf "$reports"
mkdir -p "$reports"
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$reports/ubsan
verdict=0
if [ "$mode" != --quick ]; then
  ASAN_OPTIONS=log_path=$reports/asan ctest --test-dir "$out/tree" --output-on-failure -j "$jobs" || verdict=1
fi

# ASan must be loaded before all else, and libstdc++ with it, or it does not find the functions for exceptions.
export ASAN_OPTIONS=detect_leaks=0:log_path=$reports/asan
export PYTHONPATH=$overlay/stubs:$overlay PYTHONDONTWRITEBYTECODE=1
cd "$overlay"
sanitized() { LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so.6)" "$@"; }
sanitized python -c "
import sys, mrpc._native, mrpc_service._dataplane
for module in (mrpc._native, mrpc_service._dataplane):
    assert module.__file__.startswith(sys.argv[1]), f'{module.__file__} is not the sanitized module'" "$overlay"
tests=(messages rpc service protoc)
[ "$mode" = --quick ] && tests=(rpc/test_calls.py rpc/test_deadlines.py rpc/test_processes.py messages/test_buffers.py)
# test_it_stays_small measures memory, of which ASan takes its own.
sanitized python -m pytest -c "$root/pyproject.toml" --rootdir "$root" -p no:cacheprovider \
  --deselect tests/service/test_daemon.py::test_it_stays_small "${tests[@]/#/$root/tests/}" || verdict=1

if [ -n "$(ls "$reports")" ]; then
  verdict=1
  head -n 40 "$reports"/*
fi
exit $verdict
