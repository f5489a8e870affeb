#!/bin/sh
# tests/upgrade/two_builds.sh OLD_REF: hot restarts between the build of OLD_REF (a tag, a commit) and the working tree's, both ways,
# under load. Needs the working tree built ('make build'). Exit code 0: no call failed; 2: OLD_REF cannot take part.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OLD_REF" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT INT TERM

git -C "$root" rev-parse --verify --quiet "$1^{commit}" >/dev/null || { echo "$0: there is no $1 in this repository" >&2; exit 2; }
git -C "$root" worktree add --quiet --detach "$work/tree" "$1"
if ! [ -f "$work/tree/mrpc_service/takeover/__init__.py" ]; then
  echo "$0: $1 is too old: its mrpcd knows no --takeover; v0.2.0 is the first that does" >&2
  exit 2
fi

launcher=$(command -v ccache || true)
echo "building $1 in $work"
CCACHE_BASEDIR="$work/tree" CCACHE_NOHASHDIR=true cmake -S "$work/tree" -B "$work/build" -G Ninja \
  -DMRPC_MODULE_DIR="$work/tree/stubs" -DPython_EXECUTABLE="$(command -v "$python")" \
  ${launcher:+-DCMAKE_CXX_COMPILER_LAUNCHER="$launcher"} > "$work/cmake.log"
CCACHE_BASEDIR="$work/tree" CCACHE_NOHASHDIR=true cmake --build "$work/build" --target _dataplane _native > "$work/build.log" ||
  { tail -20 "$work/build.log" >&2; exit 2; }
cd "$root"
exec_status=0
PYTHONPATH="$root/stubs:$root" "$python" -m tests.upgrade.two_builds "$work/tree" || exec_status=$?
exit "$exec_status"
