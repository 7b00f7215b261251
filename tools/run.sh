#!/bin/bash
# Shows the main job once, from a companion's memory to a checked download, in a
# session and a state directory of its own. Leaves nothing behind. See `make run`.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
export BERTH_SESSION=demo-$$ BERTH_STATE=$work/state BERTH_RUNTIME=$work/run XDG_CONFIG_HOME=$work/config
controller=""
clean_up() {
  if [ -n "$controller" ]; then
    bin/controller quit >/dev/null 2>&1 || kill "$controller" 2>/dev/null || true
    wait "$controller" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold="" plain=""
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s\n' "$bold$*$plain"; }
fail() {
  echo
  echo "make run: $*"
  [ ! -s "$work/controller.log" ] || { echo "the controller said:"; tail -15 "$work/controller.log"; }
  exit 1
} >&2
size() { stat -c %s "$1"; }

file="$work/Große Zeichnung 1.bin"
cp bin/controller "$file"

say "1. A controller starts for this session (nobody configured a port)"
bin/controller run --no-tray >"$work/controller.log" 2>&1 &
controller=$!
# The companion's own wait for a controller is what makes this safe in any order.
port=$(bin/addin-sim port) || fail "the port was not found"
echo "port $port, found by a scan and kept in shared memory"

say "2. A companion hands $(size "$file") bytes over from its memory and waits for the upload"
bin/addin-sim send --memory --wait "$file" | tee "$work/said" || fail "the hand-over failed"
link=$(grep -oE 'https?://[^[:space:]"<>]+' "$work/said" | head -1) || fail "no link was printed"

say "3. The link, as it would stand in the mail"
echo "$link"
curl -fsS -D "$work/headers" "$link" -o "$work/fetched" ||
  fail "the link could not be fetched"
grep -i '^content-disposition' "$work/headers" || true

say "4. What came back, compared with what was handed over"
sha256sum <"$file" | cut -c1-64
sha256sum <"$work/fetched" | cut -c1-64
cmp "$file" "$work/fetched" || fail "the bytes differ"
echo "equal: $(size "$work/fetched") bytes"

say "5. What the controller says about it"
bin/controller list

say "It works. Where to look next:"
cat <<'NEXT'
  bin/controller run                     a controller of your own; in a second terminal:
  bin/addin-sim send --memory FILE       hand a file over        bin/controller watch    follow it
  bin/controller open                    the monitor page        bin/controller doctor   what it sees
  README.md                              commands, a whole companion, the documents
NEXT
