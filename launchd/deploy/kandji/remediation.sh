#!/bin/sh
# The Kandji remediation script beside audit.sh: an agent that does not run is started,
# from whatever state launchd has it in. It does nothing to one that runs and needs a
# look, and does not install one that is not there: the package does.
# Exit codes: 0 it runs, 1 it does not.
set -u

root=
bin="$root/Library/Application Support/prlagent/bin"

health=not_installed
if [ -x "$bin/prlagent" ] && [ -x "$bin/prlagentd" ]; then
  health=$("$bin/prlagent" get health --timeout 2s 2>/dev/null)
fi
case $health in
healthy | degraded | unhealthy)
  echo "it runs: $health"
  ;;
not_running | stale)
  exec "$bin/prlagentd" install
  ;;
not_answering)
  exec "$bin/prlagentd" restart
  ;;
*)
  echo "nothing can be done here: ${health:-unknown}" >&2
  exit 1
  ;;
esac
