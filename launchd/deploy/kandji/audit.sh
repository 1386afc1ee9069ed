#!/bin/sh
# A Kandji audit script: it passes (exit code 0) if prlagent on this Mac is healthy, and
# alerts (1) otherwise, with one line that says how it is: degraded or unhealthy with the
# codes of what needs a look, not_running, not_answering, stale, not_installed or unknown.
set -u
PATH=/usr/bin:/bin:/usr/sbin:/sbin
export PATH

root=
support="$root/Library/Application Support/prlagent"
prlagent="$support/bin/prlagent"

# is_roots PATH...: nobody but root, and who runs this, can have put these there; if
# others can, $suspect is the first. A folder comes before what is in it: then nobody
# exchanges what has been looked at.
is_roots() {
  for suspect in "$@"; do
    # shellcheck disable=SC3067 # every sh of a Mac has -O
    if [ -L "$suspect" ] || { [ ! -O "$suspect" ] && [ -z "$(find "$suspect" -prune -user 0 2>/dev/null)" ]; } ||
      [ -z "$(find "$suspect" -prune ! -perm -0020 ! -perm -0002 2>/dev/null)" ]; then
      return 1
    fi
  done
}

# is_ours PROGRAM: root may run it.
is_ours() {
  is_roots "$root/Library" "$root/Library/Application Support" "$support" "$support/bin" "$support/bin/$1"
}

# ask_health sets health to one word. Without its command line the agent is gone, whatever
# it has left behind; and where others can have put that there, nobody runs it.
ask_health() {
  health=not_installed
  if [ -x "$prlagent" ]; then
    health=unknown
    if is_ours prlagent; then
      health=$("$prlagent" get health --timeout 2s 2>/dev/null)
    fi
  fi
  case $health in
  healthy | degraded | unhealthy | not_running | not_answering | stale | not_installed) ;;
  *) health=unknown ;;
  esac
}

ask_health
case $health in
healthy)
  echo healthy
  exit 0
  ;;
degraded | unhealthy)
  codes=$("$prlagent" get conditions --live --timeout 2s 2>/dev/null)
  echo "$health${codes:+: $codes}"
  ;;
unknown)
  if is_ours prlagent; then
    echo unknown
  else
    echo "unknown: others than root can change $suspect"
  fi
  ;;
*)
  echo "$health"
  ;;
esac
exit 1
