#!/bin/sh
# Removes prlagent. As root:
#
#   sh uninstall.sh [--purge] [--release] [--force]
#
# The agent's state, configuration and logs stay, for the next installation; --purge
# removes them too. While machines are held or locked by the agent, it refuses;
# --release releases first exactly what it has placed. --force removes what is left of
# an agent whose program is gone, or could have been put there by others; nothing is
# released then.
#
# Exit codes: 0 it is gone, 1 it failed or refused, 2 wrong usage, 4 not root.
set -u
PATH=/usr/bin:/bin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

identifier=@IDENTIFIER@
support="@SUPPORT@"
daemon="@DAEMON@"
programs="@PROGRAM_FOLDER@"
state="@STATE@"
job="@JOB@"
link="@LINK@"

@IS_ROOTS@

# Jamf Pro gives a script the volume, the Mac's name and the user's first, and then as many
# words as the policy has, most of them empty.
if [ "${1-}" = / ] && [ $# -ge 3 ]; then shift 3; fi

purge=no release=no force=no
for word in "$@"; do
  case $word in
  '') ;;
  --purge) purge=yes ;;
  --release) release=yes ;;
  --force) force=yes ;;
  *)
    echo "usage: uninstall.sh [--purge] [--release] [--force]" >&2
    exit 2
    ;;
  esac
done
if [ "$(id -u)" != 0 ]; then
  echo "prlagent is removed by root: sudo sh $0 $*" >&2
  exit 4
fi

set --
if [ "$purge" = yes ]; then set -- "$@" --purge; fi
if [ "$release" = yes ]; then set -- "$@" --release; fi
if [ -x "$daemon" ] && is_roots "$support" "$programs" "$daemon"; then
  "$daemon" uninstall "$@" || exit 1
elif [ -e "$daemon" ] && [ "$force" = no ]; then
  echo "$daemon cannot be run, or others than root can change it, so nothing can be released." >&2
  echo "Install the package again first, or remove the rest with --force." >&2
  exit 1
elif [ -e "$state" ] && [ "$force" = no ]; then
  echo "$daemon is gone, so what the agent holds or has locked cannot be released." >&2
  echo "Install the package again first, or remove the rest with --force." >&2
  exit 1
else
  launchctl bootout "system/$identifier" 2>/dev/null # not loaded is as good
fi

# What the agent removed itself is not there any more.
if [ -L "$link" ] && [ "$(readlink "$link")" = "@CLI@" ]; then
  rm -f "$link"
fi
if [ -f "@MADE_LINKS@" ]; then
  rmdir "@LINKS@" 2>/dev/null
  rm -f "@MADE_LINKS@"
fi
if pkgutil --pkg-info "$identifier" >/dev/null 2>&1; then
  pkgutil --forget "$identifier"
fi
rm -f "$job" @RUNTIME_FILES@ @PROGRAMS@
rmdir "$programs" 2>/dev/null
if [ "$purge" = yes ]; then
  rm -rf "$support"
fi

left=no
for place in "$daemon" "$job"; do
  if [ -e "$place" ]; then
    echo "$place is still there" >&2
    left=yes
  fi
done
if [ "$purge" = yes ] && [ -e "$support" ]; then
  echo "$support is still there" >&2
  left=yes
fi
[ "$left" = no ]
