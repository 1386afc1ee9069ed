#!/bin/sh
# A Jamf Pro extension attribute: one value of prlagent on this Mac. One attribute is
# one copy of this file with another field; 'prlagent get' lists them with their kinds,
# which are Jamf's data types.
#
# health is one of healthy, degraded, unhealthy, not_running, not_answering, stale,
# not_installed and unknown. What else the agent has seen is only told while it answers:
# otherwise a text is unknown, and a number is empty. A date tells by itself how old it
# is: last_checkin is also that of an agent that is gone.
set -u
field=health

root=
prlagent="$root/Library/Application Support/prlagent/bin/prlagent"

print_unknown() {
  case $field in
  violations | vm_count | vm_running | vm_stale | last_checkin) echo '<result></result>' ;;
  *) echo '<result>unknown</result>' ;;
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
  echo "<result>$health</result>"
  exit 0
fi
if [ "$answers" = no ] && [ "$field" != last_checkin ]; then
  print_unknown
fi
result=$("$prlagent" get "$field" --ea --timeout 2s 2>/dev/null) || print_unknown
printf '%s\n' "$result"
