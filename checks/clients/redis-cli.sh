#!/usr/bin/env bash
# Checks a server with an unmodified redis-cli: redis-cli.sh HOST PORT
set -uo pipefail

host=$1 port=$2
prefix="check:redis-cli:$$:"
failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cli() { timeout 30 redis-cli -h "$host" -p "$port" "$@"; }

# same NAME EXPECTED GOT
same() {
  if [ "$2" == "$3" ]; then
    echo "redis-cli: $1 ok"
  else
    echo "redis-cli: $1 FAILED: expected '$2', got '${3:0:300}'"
    failed=1
  fi
}

remove() { cli --scan --pattern "$prefix*" | while read -r name; do cli DEL "$name" >/dev/null; done; }

for protocol in "" -2 -3; do
  label="${protocol:-default}"
  # shellcheck disable=SC2086 # No protocol is no word.
  ask() { cli $protocol "$@"; }
  same "$label PING" PONG "$(ask PING)"
  same "$label SET" OK "$(ask SET "${prefix}s" 'two words')"
  same "$label GET" 'two words' "$(ask GET "${prefix}s")"
  same "$label SET with a deadline" OK "$(ask SET "${prefix}e" v EX 100)"
  same "$label TTL" 100 "$(ask TTL "${prefix}e" | sed s/99/100/)"
  same "$label INCR" 1 "$(ask INCR "${prefix}n$label")"
  same "$label --no-raw" '(integer) 2' "$(ask --no-raw INCR "${prefix}n$label")"
  same "$label nil" '(nil)' "$(ask --no-raw GET "${prefix}nosuch")"
  same "$label MULTI from stdin" "OK QUEUED QUEUED OK two" \
    "$(printf 'MULTI\nSET %sm two\nGET %sm\nEXEC\n' "$prefix" "$prefix" | ask | xargs)"
  same "$label --csv" '"1","two words",NULL' "$(ask SET "${prefix}c" 1 >/dev/null
    ask --csv MGET "${prefix}c" "${prefix}s" "${prefix}nosuch")"
  same "$label an error" "ERR value is not an integer or out of range" "$(ask INCR "${prefix}s" | sed '/^$/d')"
  ask -e INCR "${prefix}s" >/dev/null 2>&1
  same "$label -e, exit code of an error" 1 $?
  same "$label -r" "PONG PONG PONG" "$(ask -r 3 PING | xargs)"
  same "$label --scan" 100 "$(seq 100 | sed "s/.*/SET ${prefix}scan:& v/" | ask >/dev/null
    ask --scan --pattern "${prefix}scan:*" | sort -u | wc -l)"
done

head -c 5000000 /dev/urandom >"$scratch/large"
same "-x, 5 MB from stdin" OK "$(cli -x SET "${prefix}large" <"$scratch/large")"
cli GET "${prefix}large" | head -c 5000000 | cmp -s - "$scratch/large"
same "5 MB to stdout" 0 $?

for i in $(seq 1000); do printf '*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n' $((${#prefix} + 4 + ${#i})) "${prefix}pip:$i"; done \
  >"$scratch/pipe"
same "--pipe" "errors: 0, replies: 1000" "$(cli --pipe <"$scratch/pipe" | tail -1)"
same "--pipe, the keys" 1000 "$(cli --scan --pattern "${prefix}pip:*" | wc -l)"

cli SUBSCRIBE "${prefix}channel" >"$scratch/messages" &
subscriber=$!
for _ in $(seq 200); do
  [ "$(cli PUBLISH "${prefix}channel" hello)" == 1 ] && break
  sleep 0.02
done
for _ in $(seq 200); do
  grep -q '^hello$' "$scratch/messages" && break
  sleep 0.02
done
kill "$subscriber"
wait "$subscriber" 2>/dev/null
same "SUBSCRIBE" "subscribe ${prefix}channel 1 message ${prefix}channel hello" "$(xargs <"$scratch/messages")"

same "--bigkeys" 1 "$(cli --bigkeys | grep -c 'strings with')"
same "--memkeys" 1 "$(cli --memkeys | grep -c 'strings with')"
same "INFO" 1 "$(cli INFO server | grep -c '^redis_version:7')"
same "CLIENT LIST" 1 "$(cli CLIENT LIST | grep -c 'cmd=client|list')"
# A terminal drops what is typed before the prompt, so the typing waits for it.
typed=$({
  for line in PING "help get" exit; do
    sleep 1
    echo "$line"
  done
} | TERM=dumb timeout 20 script -qec "redis-cli -h $host -p $port" /dev/null)
same "interactive" 1 "$(grep -c 'PONG' <<<"$typed")"
same "interactive, help from COMMAND DOCS" 1 "$(grep -c 'group:.*string' <<<"$typed")"

remove
exit "$failed"
