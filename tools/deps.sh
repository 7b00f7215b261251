#!/bin/bash
# Installs what is missing of the Debian packages that a task needs.
# Usage: tools/deps.sh GROUP...    groups: run test wine model browser
# Root or sudo installs them; without either the packages are named, and tests
# that want them are skipped by name.
set -euo pipefail

packages() {
  case $1 in
    run)  echo curl ca-certificates ;;
    test) echo gcc libc6-dev ca-certificates curl dbus-daemon desktop-file-utils libglib2.0-bin openssh-client openssh-server openssh-sftp-server vsftpd procps systemd util-linux ;;
    model) echo gcc libc6-dev spin ;;
    wine) echo binutils ca-certificates libfontconfig1 libfreetype6 libx11-6 libxext6 patchelf util-linux xdotool imagemagick xvfb xz-utils ;;
    browser) echo ca-certificates chromium ;;
    *)    echo "deps: unknown group '$1' (run test wine model browser)" >&2; exit 2 ;;
  esac
}

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
  if [ "$(id -u)" = 0 ]; then env "$@"; else sudo -n env "$@"; fi
}

# Installing a server package starts it and enables it for the next boot. The
# tests want the program, not an open port on this machine.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d made=""
  if [ ! -e $policy ]; then
    made=1
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy"
  fi
  local ok=0
  { as_root apt-get -q -o DPkg::Lock::Timeout=300 update &&
    as_root DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"; } >&2 || ok=1
  [ -z "$made" ] || as_root rm -f $policy
  local unit
  for unit in vsftpd:vsftpd openssh-server:ssh; do
    case " $* " in *" ${unit%%:*} "*) as_root systemctl disable "${unit##*:}" >/dev/null 2>&1 || true ;; esac
  done
  return $ok
}

[ $# -gt 0 ] || { echo "usage: tools/deps.sh GROUP...  (run test wine model browser)" >&2; exit 2; }
want=()
for group in "$@"; do
  list=$(packages "$group") || exit 2
  read -ra names <<<"$list"
  want+=("${names[@]}")
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps: this is not a Debian system; the tests look for: ${want[*]}"
  echo "      whatever is missing is skipped by name."
  exit 0
fi

missing=()
for p in "${want[@]}"; do installed "$p" || missing+=("$p"); done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
  echo "deps: missing and not installed, because neither root nor passwordless sudo is at hand: ${missing[*]}"
  echo "      next: sudo apt-get install ${missing[*]}"
  exit 0
fi
echo "deps: installing ${missing[*]}"
log=$(mktemp)
if ! install_quietly "${missing[@]}" 2>"$log"; then
  cat "$log"; rm -f "$log"
  echo "deps: apt-get could not install ${missing[*]}; its own words stand above" >&2
  exit 1
fi
rm -f "$log"
