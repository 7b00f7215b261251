#!/bin/bash
# Vets and tests packages as Windows builds, under wine (see tools/wine.sh).
# Usage: tools/wine-test.sh [FLAGS OF go test] [PACKAGES]      default: ./...
# The flags come first; the packages start at the first word that begins with a dot.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
flags=()
while [ $# -gt 0 ] && [[ $1 != .* ]]; do flags+=("$1"); shift; done
[ $# -gt 0 ] || set -- ./...
unset BERTH_REQUIRE_ALL # the file servers run on Linux only: what needs one is skipped by name
export GOOS=windows GOARCH=amd64 CGO_ENABLED=0
go vet "$@"
# The scripts of the command line start the simulator too, and no compiler runs there.
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
go build -o "$programs/addin-sim.exe" ./cmd/addin-sim
export BERTH_ADDIN_SIM=$programs/addin-sim.exe
# -p 2: a prefix is one small session, and its server has one thread.
"$here/wine.sh" with bash -c 'exec go test -count=1 -p 2 -timeout 300s -exec "$WINE" "$@"' go-test "${flags[@]}" "$@"
