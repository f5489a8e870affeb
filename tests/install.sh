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
python - <<'EOF'
import subprocess
import sys

from mrpc import testing

with testing.mesh(), subprocess.Popen([sys.executable, "server.py"], stdout=subprocess.PIPE, text=True) as server:
    server.stdout.readline()
    answer = subprocess.run([sys.executable, "client.py"], capture_output=True, text=True, timeout=30, check=True).stdout
    server.terminate()
print(f"installed elsewhere: {answer.strip()}")
assert "hello" in answer.lower(), answer
EOF
