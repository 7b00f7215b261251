#!/bin/bash
# Lets a controller work for a long time and looks whether it stays the same:
# uploads by path and from memory, each checked by its link, companions that are
# killed in the middle of a hand-over, and beside it a swarm with kills. Descriptors,
# threads, shared maps and private memory of the controller must stay flat.
# Usage: tools/soak.sh TIME    (30s, 10m, 8h); see `make soak`. SOAK_LOG keeps the readings.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ ${1:-} =~ ^([0-9]+)([smh])$ ]] || { echo "usage: tools/soak.sh TIME  (30s, 10m, 8h)" >&2; exit 2; }
declare -A unit=([s]=1 [m]=60 [h]=3600)
seconds=$((BASH_REMATCH[1] * unit[${BASH_REMATCH[2]}]))

work=$(mktemp -d)
log=${SOAK_LOG:-$work/readings}
export BERTH_SESSION=soak-$$ BERTH_STATE=$work/state XDG_CONFIG_HOME=$work/config BERTH_KEYRING=off
controller="" swarm=""
clean_up() {
  [ -z "$swarm" ] || kill "$swarm" 2>/dev/null || true
  if [ -n "$controller" ]; then
    bin/controller quit >/dev/null 2>&1 || kill "$controller" 2>/dev/null || true
    wait "$controller" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() { echo "soak: FAILED after $((SECONDS - began)) s: $*" >&2; tail -5 "$work/controller.log" >&2; exit 1; }

# reading: seconds, descriptors, threads, maps of shared memory, private memory in KiB
reading() {
  local p=/proc/$controller
  echo "$((SECONDS - began)) $(ls "$p/fd" | wc -l) $(awk '/^Threads/{print $2}' "$p/status") $(grep -c memfd: "$p/maps" || true) $(awk '/^RssAnon/{print $2}' "$p/status")"
}

# settled: a reading once nobody is connected any more
settled() {
  local i
  for i in $(seq 100); do
    [ "$(bin/controller status --json | grep -o '"companions":[0-9]*' | cut -d: -f2)" = 0 ] && break
    sleep 0.1
  done
  sleep 3 # what lies idle goes back after two seconds
  reading
}

# round: one upload by path and one from memory, fetched and compared, and one
# companion that is killed while it hands over.
round() {
  local way link
  head -c $((RANDOM * 64 + 1)) /dev/urandom >"$work/file"
  for way in "" --memory; do
    link=$(bin/addin-sim send $way --wait "$work/file" 2>/dev/null | grep -oE 'https?://[^[:space:]"<>]+' | head -1) || fail "a hand-over${way:+ from memory} failed"
    curl -fsS "$link" | cmp - "$work/file" || fail "what came back differs"
  done
  head -c 30000000 /dev/zero >"$work/large"
  bin/addin-sim send --memory "$work/large" >/dev/null 2>&1 &
  local victim=$!
  sleep "0.0$((RANDOM % 10))"
  kill -9 $victim 2>/dev/null || true
  wait $victim 2>/dev/null || true
  bin/controller cancel --all >/dev/null 2>&1 || true
  rm -rf "$work"/state/*/files/* 2>/dev/null || true # what was checked need not fill the disk
}

began=$SECONDS
bin/controller run --no-tray >"$work/controller.log" 2>&1 &
controller=$!
bin/addin-sim port >/dev/null || fail "the controller does not come up"
bin/addin-sim swarm --companions 4 --procs 2 --kill --mischief frames,records,releases,halves --for "${seconds}s" >"$work/swarm.log" 2>&1 &
swarm=$!

for _ in 1 2 3; do round; done
first=$(settled)
echo "$first" | tee "$log"
rounds=3 next=$((seconds / 20))
while [ $((SECONDS - began)) -lt $seconds ]; do
  kill -0 $controller 2>/dev/null || fail "the controller has ended"
  round
  rounds=$((rounds + 1))
  if [ $((SECONDS - began)) -ge $next ]; then
    settled | tee -a "$log"
    next=$((SECONDS - began + seconds / 20))
  fi
done
last=$(settled)
echo "$last" | tee -a "$log"
wait $swarm || { cat "$work/swarm.log" >&2; swarm=""; fail "the swarm beside it"; }
swarm=""

read -r _ fds threads maps memory <<<"$first"
read -r _ fds2 threads2 maps2 memory2 <<<"$last"
echo "soak: $rounds rounds in $((SECONDS - began)) s; first and last: descriptors $fds $fds2, threads $threads $threads2, shared maps $maps $maps2, private memory $memory $memory2 KiB"
grep -E '^(messages checked|wrong|lost|processes killed|blocks left)' "$work/swarm.log" | sed 's/^/  swarm: /'
[ "$fds2" -le $((fds + 4)) ] || fail "descriptors grow"
[ "$threads2" -le $((threads + 16)) ] || fail "threads grow"
[ "$maps2" -le "$maps" ] || fail "shared maps grow"
[ "$memory2" -le $((memory + memory / 2 + 16384)) ] || fail "private memory grows"
echo "soak: flat"
