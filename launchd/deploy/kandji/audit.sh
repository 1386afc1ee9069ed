#!/bin/sh
# A Kandji audit script: it passes (exit code 0) if prlagent on this Mac is healthy, and
# alerts (1) otherwise, with one line that says how it is: degraded or unhealthy with the
# codes of what needs a look, not_running, not_answering, stale, not_installed or unknown.
set -u

root=
prlagent="$root/Library/Application Support/prlagent/bin/prlagent"

# Without its command line the agent is gone, whatever it has left behind.
health=not_installed
if [ -x "$prlagent" ]; then
  health=$("$prlagent" get health --timeout 2s 2>/dev/null)
fi
case $health in
healthy)
  echo healthy
  exit 0
  ;;
degraded | unhealthy)
  echo "$health: $("$prlagent" get conditions --timeout 2s 2>/dev/null)"
  ;;
not_running | not_answering | stale | not_installed)
  echo "$health"
  ;;
*)
  echo unknown
  ;;
esac
exit 1
