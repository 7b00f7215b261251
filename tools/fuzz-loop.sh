#!/bin/bash
# Runs every parser of the module on EXECS mutated inputs in its own process, and
# whole hostile companions on a thousandth of that. Usage: tools/fuzz-loop.sh EXECS [PACKAGES]
# Each line ends with its seed: BERTH_FUZZ_SEED repeats a run. What fails is kept
# under testdata/fuzz of the package: commit it with the cure.
set -euo pipefail
execs=${1:?usage: tools/fuzz-loop.sh EXECS [PACKAGES]}
shift
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || mapfile -t pkgs < <(git grep --untracked -l '^func TestFuzzLoop' -- '*_test.go' | sed 's,/[^/]*$,,; s,^,./,' | sort -u)
[ $# -eq 0 ] || pkgs=("$@")
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
BERTH_FUZZ_EXECS=$execs go test -count=1 -timeout 24h -run '^TestFuzzLoop' -v "${pkgs[@]}" >"$log" 2>&1 || status=$?
sed -nE 's/^ +[a-z_]+\.go:[0-9]+: (fuzzed .*|.* programs, .*)/  \1/p' "$log"
if [ "$status" != 0 ]; then
  grep -vE '^(=== |ok |PASS)| fuzzed ' "$log" | head -200
fi
targets=$(grep -c ' fuzzed ' "$log" || true)
total=$(sed -nE 's/.* fuzzed [A-Za-z]+: ([0-9]+) executions.*/\1/p' "$log" | awk '{ n += $1 } END { printf "%.0f", n }')
echo "fuzz-loop: $targets targets, ${total:-0} executions, $([ "$status" = 0 ] && echo "none failed" || echo "FAILED")"
[ "$status" = 0 ] && [ "$targets" -gt 0 ]
