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

root=
prlagent="$root/Library/Application Support/prlagent/bin/prlagent"

print_unknown() {
  case $field in
  violations | vm_count | vm_running | vm_stale | last_checkin) echo ;;
  *) echo unknown ;;
  esac
  exit 0
}

# Without its command line the agent is gone, whatever it has left behind.
health=not_installed
if [ -x "$prlagent" ]; then
  health=$("$prlagent" get health --timeout 2s 2>/dev/null)
fi
case $health in
healthy | degraded | unhealthy) answers=yes ;;
not_running | not_answering | stale | not_installed) answers=no ;;
*) health=unknown answers=no ;;
esac

if [ "$field" = health ]; then
  echo "$health"
  exit 0
fi
if [ "$answers" = no ] && [ "$field" != last_checkin ]; then
  print_unknown
fi
value=$("$prlagent" get "$field" --timeout 2s 2>/dev/null) || print_unknown
if [ "$field" = last_checkin ] && [ -n "$value" ]; then
  value="${value% *}T${value#* }Z"
fi
printf '%s\n' "$value"
