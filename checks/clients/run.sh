#!/usr/bin/env bash
# Runs every client check against one server: run.sh HOST PORT [CLIENT...]
#
# The server is flushed before every client. Installs what is missing into target/clients (or $CLIENTS_SCRATCH). Ends with `N passed, N failed`: one count per
# check that a client printed, and one for a client that stopped before its end.
set -uo pipefail

host=${1:?host} port=${2:?port}
shift 2
here=$(cd "$(dirname "$0")" && pwd)
scratch=${CLIENTS_SCRATCH:-$here/../../target/clients}
mkdir -p "$scratch"
scratch=$(cd "$scratch" && pwd)
seconds_max=150

need() { command -v "$1" >/dev/null || { apt-get install -qq -y "$2" >/dev/null 2>&1 || echo "cannot install $2"; }; }

install_python() {
  cmp -s "$here/requirements.txt" "$scratch/venv/requirements.txt" && return
  python3 -c 'import ensurepip' 2>/dev/null || apt-get install -qq -y python3-venv >/dev/null 2>&1
  rm -rf "$scratch/venv"
  python3 -m venv "$scratch/venv" &&
    "$scratch/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" &&
    cp "$here/requirements.txt" "$scratch/venv/requirements.txt"
}

install_node() {
  cmp -s "$here/package.json" "$scratch/npm/installed.json" && return
  need npm npm
  mkdir -p "$scratch/npm"
  cp "$here/package.json" "$scratch/npm/package.json"
  (cd "$scratch/npm" && npm install --no-package-lock --no-audit --no-fund --silent) >/dev/null 2>&1 &&
    cp "$here/package.json" "$scratch/npm/installed.json"
}

install_rust() {
  CARGO_TARGET_DIR="$scratch/cargo" CARGO_INCREMENTAL=0 \
    cargo build --quiet --locked --manifest-path "$here/redis-rs/Cargo.toml"
}

# client NAME INSTALL COMMAND...
passed=0 failed=0
client() {
  local name=$1 install=$2 output status
  shift 2
  if [ ${#chosen[@]} -gt 0 ] && [[ " ${chosen[*]} " != *" $name "* ]]; then return; fi
  if [ "$install" != - ] && ! "$install"; then
    echo "$name FAILED: could not be installed"
    failed=$((failed + 1))
    return
  fi
  redis-cli -h "$host" -p "$port" FLUSHALL >/dev/null
  output=$(timeout "$seconds_max" "$@" 2>&1)
  status=$?
  local ok wrong
  ok=$(grep -c ' ok$' <<<"$output")
  wrong=$(grep -c 'FAILED' <<<"$output")
  if [ $status -ne 0 ] && [ "$wrong" -eq 0 ] || [ "$ok" -eq 0 ]; then wrong=$((wrong + 1)); fi
  [ "$wrong" -gt 0 ] && grep -v ' ok$' <<<"$output" | head -60
  echo "$name: $ok passed, $wrong failed"
  passed=$((passed + ok))
  failed=$((failed + wrong))
}

chosen=("$@")
need redis-cli redis-tools
need node nodejs
client redis-cli - bash "$here/redis-cli.sh" "$host" "$port"
client redis-benchmark - bash "$here/redis-benchmark.sh" "$host" "$port"
client redis-py install_python "$scratch/venv/bin/python" "$here/redis_py.py" "$host" "$port"
export NODE_PATH="$scratch/npm/node_modules"
client node-redis install_node node "$here/node-redis.js" "$host" "$port"
client ioredis install_node node "$here/ioredis.js" "$host" "$port"
client redis-rs install_rust "$scratch/cargo/debug/greenwich-check-redis-rs" "$host" "$port"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
