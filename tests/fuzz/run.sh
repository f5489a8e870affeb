#!/usr/bin/env bash
# Fuzzes every target for SECONDS (60) with clang's libFuzzer under ASan and UBSan, and prints a table of what came of it.
# usage: tests/fuzz/run.sh [SECONDS [TARGET...]]     a target is a folder of tests/fuzz/corpus
# What crashes one is kept as $MRPC_BUILD/fuzz/TARGET-crash-HASH (or -oom-, -timeout-), with the log beside it; run it again with
# $MRPC_BUILD/fuzz/tree/tests/fuzz/TARGET FILE. Fix it, then add the file to the corpus: ctest runs the corpora from then on.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${MRPC_BUILD:-$root/build}/fuzz
jobs=${JOBS:-$(nproc)}
seconds=${1:-60}
shift || true
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(ls "$root/tests/fuzz/corpus")

mkdir -p "$out"
launcher=$(command -v ccache || true)
cmake -S "$root" -B "$out/tree" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" \
  -DMRPC_TESTS=ON -DMRPC_PYTHON=OFF -DMRPC_SANITIZE=fuzzer,address,undefined > "$out/build.log" 2>&1 &&
  cmake --build "$out/tree" -j "$jobs" --target "${targets[@]}" >> "$out/build.log" 2>&1 || { tail -n 40 "$out/build.log"; exit 1; }

# A copy of the corpus grows, the committed one stays as it is. UBSan only prints unless it is told to stop.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fuzz() {
  cp -r "$root/tests/fuzz/corpus/$1" "$work/$1"
  "$out/tree/tests/fuzz/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$out/$1-" "$work/$1" > "$out/$1.log" 2>&1 && touch "$work/$1.passed"
}
for target in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  fuzz "$target" &
done
wait || true

stat() { sed -n "s/^stat::$2: *//p" "$out/$1.log"; }
row="%-22s %12s %10s  %s\n"
# shellcheck disable=SC2059
printf "$row" target runs "new units" result
failed=0
for target in "${targets[@]}"; do
  result=passed
  if [ ! -e "$work/$target.passed" ]; then
    failed=1
    kept=$(sed -n 's/.*Test unit written to //p' "$out/$target.log" | tail -n 1)
    result="FAILED: ${kept:-see $out/$target.log}"
  fi
  # shellcheck disable=SC2059
  printf "$row" "$target" "$(stat "$target" number_of_executed_units)" "$(stat "$target" new_units_added)" "$result"
done
exit $failed
