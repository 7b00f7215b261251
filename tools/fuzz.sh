#!/bin/bash
# Fuzzes every target of the module, one after the other. Usage: tools/fuzz.sh TIME
# TIME is a duration (30s) or a number of executions (1000000x) for each target.
# What fails is kept by Go under testdata/fuzz of the package: commit it with the cure.
set -euo pipefail
each=${1:?usage: tools/fuzz.sh TIME}
found=0
failed=()
while read -r pkg; do
  while read -r target; do
    found=$((found + 1))
    echo "=== $pkg $target, $each"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$each" "$pkg" || failed+=("$pkg $target")
  done < <(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep .)
echo "fuzz: $found targets, ${#failed[@]} failed"
printf '  %s\n' "${failed[@]}"
[ "$found" -gt 0 ] && [ ${#failed[@]} -eq 0 ]
