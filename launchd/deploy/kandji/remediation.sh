#!/bin/sh
# The Kandji remediation script beside audit.sh: an agent that does not run is started,
# from whatever state launchd has it in. It does nothing to one that runs and needs a
# look, and does not install one that is not there: the package does. It runs no program
# that others than root can have put there.
# Exit codes: 0 it runs, 1 it does not.
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

# refuse WORDS...
refuse() {
  echo "nothing can be done here: $*" >&2
  exit 1
}

ask_health
case $health in
healthy | degraded | unhealthy)
  echo "it runs: $health"
  exit 0
  ;;
not_running | stale) action=install ;;
not_answering) action=restart ;;
not_installed) refuse not_installed ;;
*) action= ;;
esac
if [ ! -x "$support/bin/prlagentd" ]; then
  refuse not_installed
fi
if ! is_ours prlagent || ! is_ours prlagentd; then
  refuse "others than root can change $suspect. Give it to root, and install the package again"
fi
if [ -z "$action" ]; then
  refuse "$health"
fi
exec "$support/bin/prlagentd" "$action"
