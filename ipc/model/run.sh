#!/bin/bash
# Explores the models of the protocol of package ipc, and every mutant of them.
# Usage: ipc/model/run.sh [MODEL...]     models: lane lead takedown debts rendezvous block relay passage nap
# Fails when a model has an error or was not explored to the end, and when a
# mutant survives. Needs the Debian packages spin and gcc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

for tool in spin gcc; do
  command -v "$tool" >/dev/null || { echo "model: $tool is missing; next: apt-get install spin gcc libc6-dev" >&2; exit 1; }
done

# explore MODEL FORMULA [-D...]: leaves pan's words in $work/log. Without a formula
# it looks for assertions that fail and for processes that wait for ever.
explore() {
  local model=$1 formula=$2 dir=$work/$1; shift 2
  rm -rf "$dir"; mkdir "$dir"
  cp "$here/$model.pml" "$dir/"
  local how=(-DSAFETY -DNOCLAIM) run=()
  [ -z "$formula" ] || { how=(); run=(-a -N "$formula"); }
  (cd "$dir" && spin -a "$@" "$model.pml" && gcc -O2 -w -DCOLLAPSE -DMEMLIM=4000 "${how[@]}" -o pan pan.c) >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
  (cd "$dir" && nice ./pan -m1000000 "${run[@]}") >"$work/log" 2>&1 || true
}

field() { sed -nE "s/$1/\\1/p" "$work/log" | head -1; }

# complete: nothing was cut short, and pan came to its end.
complete() { ! grep -qE 'max search depth too small|out of memory|pan: reached|not complete|truncated' "$work/log" && grep -q 'errors:' "$work/log"; }

row() {
  printf '%-11s %-38s %9s %6s %6s %7ss  %s\n' "$1" "$2" "$(field '^ *([0-9.e+]+) states, stored.*')" \
    "$(field '.*depth reached ([0-9]+).*')" "$(field '.*errors: ([0-9]+).*')" "$(field '.*elapsed time ([0-9.e-]+) seconds.*')" "$3"
}

sound() {
  local model=$1 label=$2; shift 2
  explore "$model" "$@"
  local verdict=holds
  local why
  why=$(field '^pan:1: (.*)')
  if [ -n "$why" ]; then
    verdict="FAILS: $why"
  elif ! complete || [ "$(field '.*errors: ([0-9]+).*')" != 0 ]; then
    verdict="NOT EXPLORED TO THE END"
  fi
  row "$model" "$label" "$verdict"
  [ "$verdict" = holds ] && return
  failed=1
  [ ! -e "$work/$model/$model.pml.trail" ] || (cd "$work/$model" && spin -t -p -g "${@:2}" "$model.pml" | tail -60)
}

mutant() {
  local model=$1 name=$2
  explore "$model" "" "-D$name"
  local why verdict
  why=$(field '^pan:1: (assertion violated|invalid end state).*')
  verdict="caught: $why"
  [ -n "$why" ] || { verdict="NOT CAUGHT"; failed=1; }
  row "$model" "${name#MUTANT_}" "$verdict"
}

models=("$@")
[ ${#models[@]} -gt 0 ] || models=(lane lead takedown debts rendezvous block relay passage nap)
printf '%-11s %-38s %9s %6s %6s %8s  %s\n' model "" states depth errors time verdict
for model in "${models[@]}"; do
  [ -f "$here/$model.pml" ] || { echo "model: there is no model $model; next: one of lane lead takedown debts rendezvous block relay passage nap" >&2; exit 1; }
  sound "$model" "(itself)" ""
  for formula in $(sed -nE 's/^ltl ([a-z]+) .*/\1/p' "$here/$model.pml"); do
    sound "$model" "(formula $formula)" "$formula"
  done
  for variant in $(sed -nE 's/^#ifdef (VARIANT_[A-Z_]+)$/\1/p' "$here/$model.pml" | sort -u); do
    sound "$model" "(${variant#VARIANT_})" "" "-D$variant"
  done
  for name in $(grep -oE 'MUTANT_[A-Z_]+' "$here/$model.pml" | sort -u); do
    mutant "$model" "$name"
  done
done
[ "$failed" = 0 ] || { echo "model: something above does not hold; the steps that lead there end below its line" >&2; exit 1; }
