#!/bin/bash
# Runs Windows programs on Debian 12: wine 10 from Debian trixie's packages, in a
# private tree beside the system's libraries. The system's apt sources and
# packages stay as they are. Nothing here is needed to build for Windows.
#
#   tools/wine.sh tree                 make the tree once (261 MB, 15 s), print where it is
#   tools/wine.sh run X.exe ARGS…      run one program
#   tools/wine.sh with CMD ARGS…       run CMD with $WINE, $WINEPREFIX and a warm session
#   tools/wine.sh stop                 end every program of $WINEPREFIX
#
# WINEPREFIX   one prefix is one isolated Windows session: two of them are two
#              sessions (TCP ports and process ids are shared). When it is unset a
#              fresh one is made for this call and removed after it.
# WINE_DISPLAY =1 starts an Xvfb and a desktop with a taskbar (the tray).
# WINE_TREE    where the tree is kept ($HOME/.cache/wine10)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
recipe=1 # raise it when make_tree or make_template changes
tree=${WINE_TREE:-$HOME/.cache/wine10}
template=$tree-prefix
lib=$tree/usr/lib/x86_64-linux-gnu
bin=$tree/usr/lib/wine

die() { echo "wine.sh: $*" >&2; exit 1; }

# The mirror that this system already uses.
mirror() {
  sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1 | grep . ||
    awk '$1=="deb"{for(i=2;i<=NF;i++)if($i~/:\/\//){print $i;exit}}' /etc/apt/sources.list 2>/dev/null | grep . ||
    die "no Debian mirror in /etc/apt: this needs Debian 12"
}

fetch_debs() { # WORK: a private apt that knows trixie only
  local work=$1 from
  from=$(mirror)
  mkdir -p "$work"/{lists/partial,cache/archives/partial,state,debs}
  : >"$work/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from trixie main" >"$work/sources.list"
  cat >"$work/apt.conf" <<CONF
Dir::State "$work/state"; Dir::State::lists "$work/lists"; Dir::State::status "$work/status";
Dir::Cache "$work/cache"; Dir::Etc::sourcelist "$work/sources.list"; Dir::Etc::sourceparts "-";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false"; Acquire::Retries "3"; APT::Architecture "amd64";
APT::Sandbox::User "root";
CONF
  (cd "$work/debs"
   export APT_CONFIG=$work/apt.conf
   apt-get -q update
   apt-get -q download wine64 libwine libc6 libunwind8 liblzma5 libz-mingw-w64)
}

# What libwine's postinst does: zlib1.dll, which user32 needs, gets the mark of a builtin.
mark_zlib() {
  local z=$tree/usr/x86_64-w64-mingw32/lib/zlib1.dll o=$lib/wine/x86_64-windows/zlib1.dll
  { head -c 64 "$z"; printf 'Wine builtin DLL'; printf '\0%.0s' {1..16}; tail -c +97 "$z"; } >"$o.new"
  rm -f "$o"; mv "$o.new" "$o"
}

make_tree() {
  "$here/deps.sh" wine
  command -v patchelf >/dev/null || die "patchelf is missing; next: sudo apt-get install patchelf binutils xz-utils"
  rm -rf "$tree" "$template" "$tree.apt"
  mkdir -p "$tree"
  fetch_debs "$tree.apt"
  local deb b
  for deb in "$tree.apt"/debs/*.deb; do dpkg-deb -x "$deb" "$tree"; done
  for b in wine64 wineserver64; do
    patchelf --set-interpreter "$lib/ld-linux-x86-64.so.2" --force-rpath \
      --set-rpath "$lib:/usr/lib/x86_64-linux-gnu" "$bin/$b"
  done
  # Debian's wrapper execs the server by an absolute path.
  ln -sfn wineserver64 "$bin/wineserver"
  mark_zlib
  # Debug sections are two thirds of it, and every prefix gets a copy.
  find "$lib/wine/x86_64-windows" -type f -print0 | xargs -0 -n40 strip --strip-debug
  rm -rf "$tree.apt" "$tree"/usr/i686-w64-mingw32 "$tree"/usr/x86_64-w64-mingw32ucrt "$tree"/usr/share/doc
}

# The server looks for its tables under these two names only.
link_tables() {
  [ -e /usr/share/wine/nls ] || [ -e /usr/local/share/wine/nls ] && return
  local root=""
  [ "$(id -u)" = 0 ] || root="sudo -n"
  $root mkdir -p /usr/local/share/wine && $root ln -sfn "$tree/usr/share/wine/nls" /usr/local/share/wine/nls ||
    die "wine needs its tables at /usr/local/share/wine/nls; next: sudo ln -sfn $tree/usr/share/wine/nls /usr/local/share/wine/nls"
}

setup_env() {
  export LC_ALL=C.UTF-8 # else file names outside ASCII can't be made
  export WINE=$bin/wine64 WINELOADER=$bin/wine64 WINESERVER=$bin/wineserver64
  export WINEARCH=win64 WINEDEBUG=${WINEDEBUG:--all} WINEDLLOVERRIDES='mscoree=;mshtml='
}

make_template() {
  rm -rf "$template" "$template.xdg"
  mkdir -p -m 700 "$template.xdg"
  local -x WINEPREFIX=$template XDG_RUNTIME_DIR=$template.xdg
  timeout 180 "$WINE" wineboot -i </dev/null >/dev/null 2>&1 || die "wineboot failed; try: WINEDEBUG= WINEPREFIX=$template $WINE wineboot -i"
  timeout 60 "$WINESERVER" -w
  rm -rf "$template.xdg"
}

ensure_tree() {
  [ "$(uname -sm)" = "Linux x86_64" ] || die "this needs Linux on x86-64"
  mkdir -p "$(dirname "$tree")"
  setup_env
  exec 8>"$tree.lock"
  flock 8
  if [ "$(cat "$tree/.recipe" 2>/dev/null)" != $recipe ]; then
    echo "wine.sh: making $tree (once, about 20 s)" >&2
    # A process of its own: bash drops errexit in anything that stands behind "if".
    if ! "$0" make >"$tree.log" 2>&1; then
      tail -20 "$tree.log" >&2
      die "the tree could not be made; all of it stands in $tree.log"
    fi
  fi
  link_tables
  flock -u 8
  exec 8>&-
}

ensure_prefix() {
  if [ -z "${WINEPREFIX:-}" ]; then
    temporary=$(mktemp -d "${TMPDIR:-/tmp}/berth-wine.XXXXXX")
    export WINEPREFIX=$temporary/prefix
  fi
  exec 8>"$tree.lock"; flock 8
  if [ ! -f "$WINEPREFIX/system.reg" ]; then
    mkdir -p "$WINEPREFIX"
    cp -a "$template/." "$WINEPREFIX/"
  fi
  flock -u 8; exec 8>&-
  export XDG_RUNTIME_DIR=$WINEPREFIX.xdg
  mkdir -p -m 700 "$XDG_RUNTIME_DIR"
}

start_display() {
  local fifo; fifo=$(mktemp -u "${TMPDIR:-/tmp}/berth-display.XXXXXX"); mkfifo "$fifo"
  command -v Xvfb >/dev/null || die "Xvfb is missing; next: sudo apt-get install xvfb"
  Xvfb -displayfd 3 -screen 0 1024x768x24 -nolisten tcp 3>"$fifo" </dev/null >/dev/null 2>&1 &
  xvfb=$!
  local n; read -r n <"$fifo"; rm -f "$fifo"
  export DISPLAY=:$n
}

# Wine's background processes keep whatever the first one inherited, so a session
# is opened with files, before the caller's pipes come near it, and held open.
start_session() {
  local hold=(cmd.exe)
  [ -z "${WINE_DISPLAY:-}" ] || { start_display; hold=(explorer.exe /desktop=shell,1024x768 cmd.exe); }
  setsid sh -c 'sleep 1000000 | exec "$@"' hold "$WINE" "${hold[@]}" </dev/null >/dev/null 2>&1 &
  holder=$!
  local i
  for i in $(seq 50); do
    timeout 30 "$WINE" cmd.exe /c 'exit 0' </dev/null >/dev/null 2>&1 && return
    sleep 0.1
  done
  die "no wine session came up in $WINEPREFIX"
}

end_session() {
  # A second caller may be using the same kept prefix: only a prefix of our own is killed whole.
  [ -z "$temporary" ] || timeout 20 "$WINESERVER" -k || true
  [ -z "$holder" ] || kill -- "-$holder" 2>/dev/null || true
  [ -z "$xvfb" ] || kill "$xvfb" 2>/dev/null || true
  [ -z "$temporary" ] || rm -rf "$temporary"
}

usage() { sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }

temporary="" holder="" xvfb=""
case ${1:-} in
  tree) ensure_tree; echo "$tree" ;;
  make) setup_env; make_tree; link_tables; make_template; echo $recipe >"$tree/.recipe" ;; # under the lock of ensure_tree
  run|with)
    verb=$1; shift
    [ $# -gt 0 ] || usage
    ensure_tree; ensure_prefix
    trap end_session EXIT
    trap 'exit 130' INT; trap 'exit 143' TERM
    start_session
    if [ "$verb" = run ]; then "$WINE" "$@"; else "$@"; fi
    ;;
  stop)
    [ -n "${WINEPREFIX:-}" ] || usage
    ensure_tree
    timeout 20 "$WINESERVER" -k || true
    ;;
  *) usage ;;
esac
