#!/bin/sh
# An Intune custom attribute for macOS: one value of prlagent on this Mac, in one line.
# One attribute is one copy of this file with another field; 'prlagent get' lists them
# with their kinds: string, integer or date, as Intune's data types.
#
# health is one of healthy, degraded, unhealthy, not_running, not_answering, stale,
# not_installed and unknown. What else the agent has seen is only told while it answers:
# otherwise a text is unknown, and a number is an empty line. A date, in the form of ISO
# 8601, tells by itself how old it is: last_checkin is also that of an agent that is gone.
set -u
field=health

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

print_unknown() {
  case $field in
  violations | vm_count | vm_running | vm_stale | last_checkin) echo ;;
  *) echo unknown ;;
  esac
  exit 0
}

if [ "$field" = health ]; then
  ask_health
  echo "$health"
  exit 0
fi
is_ours prlagent || print_unknown
case $field in
last_checkin) value=$("$prlagent" get "$field" --timeout 2s 2>/dev/null) ;;
*) value=$("$prlagent" get "$field" --live --timeout 2s 2>/dev/null) ;;
esac || print_unknown
if [ "$field" = last_checkin ] && [ -n "$value" ]; then
  value="${value% *}T${value#* }Z"
fi
printf '%s\n' "$value"
