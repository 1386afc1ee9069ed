#!/bin/sh
# Removes prlagent. As root:
#
#   sh uninstall.sh [--purge] [--release] [--force]
#
# The agent's state, configuration and logs stay, for the next installation; --purge
# removes them too. While machines are held or locked by the agent, it refuses;
# --release releases first exactly what it has placed. --force removes what is left of
# an agent whose program is gone, or could have been put there by others, which root does
# not run; nothing is released then. Where it was uninstalled before, which has released
# everything, --purge removes what was left.
#
# Exit codes: 0 it is gone, 1 it failed or refused, 2 wrong usage, 4 not root.
set -u
PATH=/usr/bin:/bin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

root=
identifier=@IDENTIFIER@
support="$root@SUPPORT@"
daemon="$root@DAEMON@"
programs="$root@PROGRAM_FOLDER@"
state="$root@STATE@"
job="$root@JOB@"
link="$root@LINK@"
links=$(dirname "$link")
made_links="$root@MADE_LINKS@"

@IS_ROOTS@

@PRINT_REMEDY@

@IN_FOLDER@

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

# An uninstallation takes the job and the receipt away with the program. Who removes the
# program alone leaves these, and nothing that the agent holds is released.
is_uninstalled() {
  for place in "$daemon" "$job"; do
    if [ -e "$place" ] || [ -L "$place" ]; then return 1; fi
  done
  ! pkgutil --pkg-info "$identifier" >/dev/null 2>&1
}

set --
if [ "$purge" = yes ]; then set -- "$@" --purge; fi
if [ "$release" = yes ]; then set -- "$@" --release; fi
# Root runs nothing that others could have exchanged.
suspect='' why=''
if [ ! -e "$daemon" ] && [ ! -L "$daemon" ]; then
  why="$daemon is gone"
elif ! is_roots @ABOVE@ "$support" "$programs" "$daemon"; then
  why="others than root can change $suspect, so $daemon is not run"
elif [ ! -f "$daemon" ] || [ ! -s "$daemon" ] || [ ! -x "$daemon" ]; then
  # A shell calls an empty program a success.
  suspect='' why="$daemon cannot be run"
fi
if [ -z "$why" ]; then
  "$daemon" uninstall "$@" || exit 1
elif [ "$force" = no ] && ! is_uninstalled && { [ -e "$daemon" ] || [ -L "$daemon" ] || [ -e "$state" ]; }; then
  echo "$why: what the agent holds or has locked cannot be released." >&2
  if [ "$suspect" ]; then print_remedy; fi
  echo "Install the package again first, which brings the program anew, or remove the rest with --force." >&2
  exit 1
else
  launchctl bootout "system/$identifier" 2>/dev/null # not loaded is as good
fi

# What the agent removed itself is not there any more. Of the rest, others may own a folder
# on the way: each name is removed in its own folder, and rm goes into no link. What others
# have left at a place of ours goes too, be it a folder.
remove() {
  if [ -e "$1" ] || [ -L "$1" ]; then
    in_folder "${1%/*}" rm -rf "${1##*/}"
  fi
}
remove_link() {
  name=${link##*/}
  if [ -L "$name" ] && [ "$(readlink "$name")" = "@CLI@" ]; then
    rm -f "$name"
  fi
}
in_folder "$links" remove_link
if [ -f "$made_links" ]; then
  in_folder "$(dirname "$links")" rmdir "$(basename "$links")" 2>/dev/null
fi
if pkgutil --pkg-info "$identifier" >/dev/null 2>&1; then
  pkgutil --forget "$identifier"
fi
rm -f "$root@SOCKET@" # in a folder of root's, to which macOS itself has a link
for place in "$made_links" "$job" @RUNTIME_FILES@ @PROGRAMS@; do
  remove "$place"
done
in_folder "$support" rmdir "$(basename "$programs")" 2>/dev/null
if [ "$purge" = yes ]; then
  remove "$support"
fi

left=no
for place in "$daemon" "$job"; do
  if [ -e "$place" ]; then
    echo "$place is still there" >&2
    left=yes
  fi
done
if [ "$purge" = yes ] && { [ -e "$support" ] || [ -L "$support" ]; }; then
  echo "$support is still there" >&2
  left=yes
fi
[ "$left" = no ]
