#!/bin/bash
# Clicks through the Windows tray with a real pointer, under wine: the icon, a
# job's submenu, a line for all jobs, quit; then pauses an upload of the real
# controller, and logs off under it; runs the test of logoffs that needs a desktop.
# Usage: tools/wine-tray.sh [DIR]    DIR keeps the screenshots (default: none)
# It opens a display of its own, so it disturbs nobody and needs none.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${BERTH_TRAY_WORK:-}" ]; then
  for tool in import convert xdotool; do
    command -v $tool >/dev/null || { echo "wine-tray: $tool is missing; next: sudo apt-get install imagemagick xdotool" >&2; exit 1; }
  done
  BERTH_TRAY_WORK=$(mktemp -d "${TMPDIR:-/tmp}/berth-tray.XXXXXX")
  export BERTH_TRAY_WORK
  keep=${1:-}
  trap '[ -z "$keep" ] || { mkdir -p "$keep"; cp "$BERTH_TRAY_WORK"/*.png "$BERTH_TRAY_WORK"/state/*.log "$keep"; }; rm -rf "$BERTH_TRAY_WORK"' EXIT
  (cd "$here/.." && GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go test -c -ldflags=-H=windowsgui -o "$BERTH_TRAY_WORK/tray.exe" ./tray &&
    GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build -o "$BERTH_TRAY_WORK/controller.exe" ./cmd/controller &&
    GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go test -c -o "$BERTH_TRAY_WORK/logoff/logoff.exe" ./cmd/controller)
  WINE_DISPLAY=1 timeout 300 "$here/wine.sh" with "$0"
  exit
fi

# From here on: inside a wine session with a desktop of 1024 x 768.
cd "$BERTH_TRAY_WORK"
icon_color='#1e88e5' # moodActive in tray/icon.go
started=""

fail() { import -window root failed.png || true; echo "wine-tray: $*" >&2; [ ! -s log ] || sed 's/^/  log: /' log >&2; exit 1; }
shot() { import -window root "$1.png"; }

# until WHAT COMMAND…: tries until it succeeds
until_ok() {
  local what=$1 i; shift
  for i in $(seq 150); do "$@" && return; sleep 0.2; done
  fail "never happened: $what"
}

said() { grep -qx "$1" log 2>/dev/null; }

# The icon lies at the right end of the taskbar, which is 30 pixels high.
find_icon() {
  local box; box=$(import -window root -crop 300x30+724+738 +repage png:- |
    convert png:- -fuzz 6% -fill black +opaque "$icon_color" -format %@ info: 2>/dev/null) || return 1
  case $box in 0x0*|300x30*|"") return 1 ;; esac
  IFS='x+' read -r w h x y <<<"$box"
  icon_x=$((724 + x + w / 2)) icon_y=$((738 + y + h / 2))
}

# What differs from the screenshot NAME, in the quarter of the desktop where no
# window is, is a menu that has opened. Sets box.
opened() {
  shot now
  local d; d=$(convert "$1.png" now.png -compose difference -composite -threshold 4% \
    -crop 464x328+560+440 +repage -format %@ info: 2>/dev/null) || return 1
  IFS='x+' read -r w h x y <<<"$d"
  [ "${w:-0}" -gt 30 ] && [ "${h:-0}" -gt 30 ] && [ "$w" -lt 464 ] && box="$w $h $((x + 560)) $((y + 440))"
}

# The middles of the enabled lines in the box, by the beginnings of their texts:
# bands of dark pixels, thicker than a separator. Disabled lines are gray and
# fall below the threshold.
read_lines() {
  read -r w h x y <<<"$box"
  lines=($(convert now.png -crop 55x$((h - 4))+$((x + 2))+$((y + 2)) +repage -colorspace gray \
    -threshold 35% -scale "1x$((h - 4))!" -depth 8 gray:- | od -An -v -tu1 -w1 |
    awk -v top=$((y + 2)) '{dark = $1 < 255} dark && !was {from = NR} !dark && was && NR - from >= 5 {print int(top + (from + NR) / 2)} {was = dark}'))
}

point() { xdotool mousemove "$1" "$2"; }
press() { point "$1" "$2"; sleep 0.2; xdotool click 1; }

# open_menu LINES: clicks on the icon until the menu has so many enabled lines. The
# menu follows the icon at a pace of its own, and never while it is open.
open_menu() {
  local i
  for i in 1 2 3 4; do
    open_once
    [ ${#lines[@]} != "$1" ] || return 0
    until_ok "the menu closes" dismissed before
    sleep 1
  done
  fail "the menu has ${#lines[@]} enabled lines (at ${lines[*]}), not $1"
}

open_once() {
  point 300 600; sleep 0.3 # away from the icon, or its tooltip covers the menu
  shot before
  press "$icon_x" "$icon_y"
  until_ok "the menu opens" opened before # where the pointer is, so it stays until then
  point 590 500
  sleep 0.7 # a tooltip that was on its way goes
  until_ok "the menu is open" opened before
  read_lines
  shot menu
  read -r _ _ menu_x _ <<<"$box"
}

# dismissed NAME: closes the menu that has opened since that screenshot. A menu without
# the keyboard does not hear of a key; every one closes at a click beside it.
dismissed() {
  opened "$1" || return 0
  xdotool key Escape
  press 300 600
  return 1
}

# choose N: clicks on the N-th enabled line of the open menu
choose() { press $((menu_x + 25)) "${lines[$(($1 - 1))]}"; }

# open_first LINES: opens the submenu of the first line and expects so many
# enabled lines in it
open_first() {
  shot before
  choose 1
  until_ok "the submenu opens" opened before
  read_lines; shot submenu
  [ ${#lines[@]} = "$1" ] || fail "the submenu has ${#lines[@]} enabled lines, not $1"
  read -r _ _ menu_x _ <<<"$box"
}

# on_desktop PROGRAM ARGS…: runs it on the desktop with the taskbar
on_desktop() {
  "$WINE" explorer.exe /desktop=shell,1024x768 "$@" </dev/null >/dev/null 2>&1 &
  started=$!
}

# start: runs the tray with an upload and a paused job
start() {
  rm -f log
  export BERTH_TRAY_DEMO=1 BERTH_TRAY_LOG="Z:${PWD//\//\\}\\log"
  export BERTH_TRAY_JOBS='[{"id":"j1","name":"big & small_file.zip","state":"uploading","bytes_done":50,"bytes_total":100},{"id":"j2","name":"second.zip","state":"paused","bytes_done":50,"bytes_total":100}]'
  on_desktop "Z:${PWD//\//\\}\\tray.exe"
  until_ok "the icon appears" find_icon
}

start
open_menu 7 # two jobs, pause all, resume all, cancel all, open, quit
open_first 2
choose 1
until_ok "the job is paused" said "pause j1"
icon_color='#e69a17' # moodPaused: nothing runs any more
until_ok "the icon shows the pause" find_icon
open_menu 6 # pause all is disabled now
choose 3
until_ok "all jobs are resumed" said "resume all"
icon_color='#1e88e5'
until_ok "the icon shows the uploads" find_icon
open_menu 6 # resume all is disabled now
choose 6
until_ok "the controller is told to quit" said quit
until_ok "the tray ends" said ended
wait $started
find_icon && fail "the icon stays after the end"
[ "$(cat log)" = "$(printf 'pause j1\nresume all\nquit\nended')" ] || fail "the controller was told something else"

# The window that hears of a logoff: this test needs a desktop, so it is skipped elsewhere.
# It starts no other program, so any will do where the scripts' simulator is asked for,
# and runs where no controller.exe lies, for it would take that for its own.
# Its output goes to a file: a pipe would break when grep has seen enough.
rm -f log
(cd logoff && BERTH_ADDIN_SIM=logoff.exe exec timeout 60 "$WINE" logoff.exe -test.v -test.run '^TestLogoff$' </dev/null) >log 2>&1 ||
  fail "TestLogoff failed on a desktop"
grep -q -- '--- PASS: TestLogoff' log || fail "TestLogoff did not run on a desktop"

# The real controller, with an upload that lasts.
printf '[limits]\nbytes_per_second = 2000000\n' >config.toml
head -c 200000000 /dev/urandom >big.bin
work="Z:${PWD//\//\\}"
export BERTH_STATE="$work\\state" BERTH_CONFIG="$work\\config.toml" BERTH_KEYRING=off
on_desktop controller.exe run
controller() { timeout 60 "$WINE" controller.exe "$@" </dev/null 2>/dev/null; }
until_ok "the controller listens" controller status >/dev/null
controller add big.bin >/dev/null || fail "the file is not taken"
until_ok "the icon shows the upload" find_icon
open_menu 5 # the job, pause all, cancel all, open, quit
open_first 2
choose 1
is_paused() { controller list --json | grep -q '"state":"paused"'; }
until_ok "the upload is paused" is_paused
on_desktop wineboot.exe -e
has_drained() { grep -qs 'msg="drained: .*error=<nil>' state/*.log; }
until_ok "the controller makes its work safe at the logoff" has_drained
wait # until everything on the desktop has ended
echo "wine-tray: icon, submenu, all, quit; pause of a real upload, logoff: ok"
