#!/bin/bash
# Takes the figures of docs/performance.md, both sides of each comparison in one run.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "machine: $(nproc) cores, $(uname -sr), $(go version | cut -d' ' -f3)"
echo
(cd bench && go run .)
make --no-print-directory bin
go run ./tools/measure
