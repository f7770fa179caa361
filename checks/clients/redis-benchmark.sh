#!/usr/bin/env bash
# Runs every test of an unmodified redis-benchmark whose commands a string cache has: redis-benchmark.sh HOST PORT
set -uo pipefail

host=$1 port=$2
tests=ping_inline,ping_mbulk,set,get,incr,mset
rows=6
failed=0

# run NAME OPTIONS...
run() {
  local name=$1 output status
  shift
  output=$(timeout 60 redis-benchmark -h "$host" -p "$port" -t "$tests" --csv "$@" 2>&1)
  status=$?
  output=$(grep -v '^WARNING: Keepalive disabled' <<<"$output")
  # A row is "TEST","requests per second",...; every rate must be above zero, and nothing else may be printed.
  if [ $status -eq 0 ] && [ "$(grep -cE '^"(PING|SET|GET|INCR|MSET)[^"]*","[1-9]' <<<"$output")" == "$rows" ] &&
    ! grep -qiE 'error|warning|could not' <<<"$output"; then
    echo "redis-benchmark: $name ok"
  else
    echo "redis-benchmark: $name FAILED (exit code $status): ${output:0:600}"
    failed=1
  fi
}

run "default settings" -n 20000
run "pipeline 16" -n 50000 -P 16
run "RESP3" -n 10000 -3
run "RESP3, pipeline 16" -n 50000 -P 16 -3
run "random keys, 100-byte values" -n 20000 -r 100000 -d 100
run "400 connections" -n 20000 -c 400
run "two threads, pipeline 16" -n 50000 -P 16 --threads 2
run "a connection for each request" -n 3000 -k 0
run "large values" -n 1000 -d 100000 -c 10
exit "$failed"
