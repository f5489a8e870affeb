#!/usr/bin/env bash
# pip install . into an environment of its own gives `import mrpc`, protoc-gen-mrpc, mrpcd and mrpc, and a call works.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
export CMAKE_GENERATOR=Ninja
command -v ccache > /dev/null && export CMAKE_CXX_COMPILER_LAUNCHER=ccache
"$work/venv/bin/pip" install --disable-pip-version-check -q "$root[protoc]"
cd "$work"
export PATH="$work/venv/bin:$PATH"
for command in mrpcd mrpc protoc-gen-mrpc; do
  command -v "$command" | grep -q "^$work/" || { echo "$command was not installed"; exit 1; }
done
cp -r "$root/examples/hello" hello
cd hello
python -m mrpc.protoc -I . --out . hello.proto
export MRPC_RUNTIME_DIR="$work/run"
mrpcd --runtime-dir "$MRPC_RUNTIME_DIR" > "$work/mrpcd.log" 2>&1 & daemon=$!
trap 'kill $daemon $server 2> /dev/null || true; wait; rm -rf "$work"' EXIT
server=
tail -n +1 -F --pid=$daemon "$work/mrpcd.log" 2> /dev/null | grep -q -m1 '^mrpcd ready'
python server.py > "$work/server.log" 2>&1 & server=$!
tail -n +1 -F --pid=$server "$work/server.log" 2> /dev/null | grep -q -m1 .
answer=$(python client.py)
echo "installed elsewhere: $answer"
grep -qi hello <<< "$answer"
