#!/bin/sh
# first-mac.sh asks a Mac with Parallels Desktop what we could not find out
# without one, and writes the answers into one archive: see first-mac.md. It
# needs nothing of ours, and opens no network connection; what the programs do that
# it asks is said there. It only reads, but for the steps that are named as changes,
# each of which wants an option of its own.
#
# It is POSIX sh and awk, because nothing else is sure to be on every Mac.
set -u
export LC_ALL=C COPYFILE_DISABLE=1
umask 077

usage() {
  cat <<'TEXT'
usage: sh first-mac.sh [--list] [--yes] [--output FILE] [--limit SECONDS]
                       [--events SECONDS] [--sudo] [--notify] [--job]
                       [--install FILE] [--uninstall FILE]

  --list            show the steps and their commands, and run none
  --yes             do not ask before each step
  --output FILE     the archive (default: first-mac-DATE.tar.gz in this folder)
  --limit SECONDS   how long a command may take before it is killed (default 60)
  --events SECONDS  how long to listen with --yes, when nobody presses Return (default 60)
  --sudo            also the questions that need an administrator
  --root DIR        a simulated Mac instead of this one, for tests

Steps that do more than read, each only with its option:
  --notify          show a notification, in up to four ways
  --job             load a job of launchd for about a minute, and remove it again
  --install FILE    install this package
  --uninstall FILE  run this uninstall script, which came with the package

Exit codes: 0 archive written, 1 not written, 2 usage, 130 interrupted.
TEXT
}

say() { printf '%s\n' "$*"; }
fail() { printf 'first-mac.sh: %s\n' "$*" >&2; exit 1; }
wrong() { printf 'first-mac.sh: %s\n' "$*" >&2; usage >&2; exit 2; }

list='' all='' output='' limit=60 events=60 administrator='' root=''
notify='' probe='' package='' removal=''
while [ $# -gt 0 ]; do
  case $1 in
    --list) list=yes ;;
    --yes) all=yes ;;
    --sudo) administrator=yes ;;
    --notify) notify=yes ;;
    --job) probe=yes ;;
    --output | --limit | --events | --root | --install | --uninstall)
      [ $# -ge 2 ] || wrong "$1 needs a value"
      case $1 in
        --output) output=$2 ;; --limit) limit=$2 ;; --events) events=$2 ;; --root) root=$2 ;;
        --install) package=$2 ;; --uninstall) removal=$2 ;;
      esac
      shift ;;
    --help | -h) usage; exit 0 ;;
    *) wrong "unknown option $1" ;;
  esac
  shift
done
for seconds in "$limit" "$events"; do
  case $seconds in '' | *[!0-9]* | ?????*) wrong 'seconds are a number' ;; esac
done
case $root in '' | /*) ;; *) wrong '--root takes an absolute path' ;; esac
root=${root%/}
for file in "$package" "$removal"; do
  [ -z "$file" ] || { [ -f "$file" ] && [ -r "$file" ]; } || wrong "there is no file $file"
done

account=${USER:-$(id -un)}
app="$root/Applications/Parallels Desktop.app"
bin="$app/Contents/MacOS"
prlctl="$bin/prlctl"
prlsrvctl="$bin/prlsrvctl"
cap=2097152        # bytes kept of one output or file
work='' step='' begun_changes='' number=0 vms='' skipped='' detach='' steady='' became=''
signals='INT TERM HUP QUIT PIPE' # that end the script; it cleans up first
sudo="$root/usr/bin/sudo"
launchctl="$root/bin/launchctl"
support="$root/Library/Application Support/prlagent"
agent=org.prlagent.agent
dialog="$root/Library/Application Support/Dialog/Dialog.app"
# The job of --job, and where it is.
trial=org.prlagent.first-mac trialfile="/Library/LaunchDaemons/org.prlagent.first-mac.plist" trialdir="$root/var/run/org.prlagent.first-mac" placed=''

# ---- The program that reads and replaces -----------------------------------

# It has four tasks: values prints the values of a key of JSON texts, learn notes
# names that must not leave the Mac, settle replaces in what a step has kept and
# writes it into the archive's folder, check looks whether one is left. Placeholders are held as a number between two bytes that no UTF-8
# text has, so that none is replaced twice.
write_program() {
  cat >"$work/program" <<'AWK'
BEGIN {
  FS = "\n"
  FROM = "\376"; TO = "\377"; DIGITS = "\370\371\372\373\374\375"
  LINE = "\367" # a line end in a string: split() of the Mac's awk also splits at a real one
  work = ENVIRON["FIRSTMAC_WORK"]; root = ENVIRON["FIRSTMAC_ROOT"]; map = work "/map"
  h = "[0-9A-Fa-f]"; h2 = h h; h4 = h2 h2; h6 = h4 h2
  PROGRAMS = "/Applications/Parallels Desktop.app/Contents/MacOS/"
  NOBODY = "00000000-0000-4000-8000-000000000000" # whom the script asks for in vain
  UUID = h4 h4 "-" h4 "-" h4 "-" h4 "-" h4 h4 h4
  k = "[0-9A-Za-z*]"; k6 = k k k k k k
  KEY = k6 "-" k6 "-" k6 "-" k6 "-" k6
  MAC = h2 ":" h2 ":" h2 ":" h2 ":" h2 ":" h2
  DASHED = h2 "-" h2 "-" h2 "-" h2 "-" h2 "-" h2
  BARE = "^" h6 h6 "$"
  TAG = "^[A-Za-z][A-Za-z0-9_.:-]*([ \t]+[A-Za-z_:][A-Za-z0-9_.:-]*[ \t]*=[ \t]*(\"[^\"]*\"|'[^']*'))*[ \t]*/?>$"
  PAIR = "[A-Za-z][A-Za-z0-9_]*=(\"[^\"]*\"|'[^']*')"
  SERIAL = "Parallels-" h2
  for (i = 0; i < 15; i++) SERIAL = SERIAL " " h2
  for (i = 0; i < 32; i++) HASH = HASH h
  b = "[A-Za-z0-9+/=]"; b8 = b b b b b b b b
  BLOB = b8 b8 b8 b8 b8 b8
  fill(ORDINARY, "windows win win10 win11 macos mac os x osx linux ubuntu debian fedora kali centos rocky alma arch arm intel pro home server lts vm test new on off yes no auto running stopped suspended paused invalid admin administrator root user users shared parallels desktop default guest the a an and of local system virtual machine name")
  fill(FOLDER, "Parallels Library Preferences Logs Documents Desktop Downloads Movies Music Pictures Public Applications Shared Containers Caches Snapshots config.pvs config.pvs.backup VmInfo.pvi NVRAM.dat parallels.log aux.bin macid.bin machw.bin DiskDescriptor.xml vm.lock Contents MacOS Managed home var root")
  FOLDER["Application Support"]; FOLDER["Applications (Parallels)"]; FOLDER["Virtual Machines.localized"]; FOLDER["Managed Preferences"]
  FOLDER["com.parallels.Parallels Desktop.plist"]; FOLDER["com.parallels.desktop.console.plist"]
  n = split("User home directory|All disks|Off|On|Default|Mute|Wi-Fi|Ethernet|Shared|Host-Only|<parallels-default-plugin>|Parallels Desktop|Null|None", list, "|")
  for (i = 1; i <= n; i++) SENTENCE[list[i]]
  OPEN["Event name"]; OPEN["Vm state name"]; OPEN["IsOwner"]
  vocabulary()
  load()
}

function fill(set, words,  list, n, i) { n = split(words, list, " "); for (i = 1; i <= n; i++) set[list[i]] }

# -- The map: kind, whether it is an ordinary word, placeholder, original.

function load(  line, part) {
  while ((getline line < map) > 0) {
    split(line, part, "\t")
    used[part[1], numberOf(part[1], part[3])]
    add(part[1], part[2], part[3], substr(line, length(part[1]) + length(part[2]) + length(part[3]) + 4))
  }
  close(map)
}

function add(kind, ordinary, placeholder, original,  i) {
  if ((kind, original) in at) return at[kind, original]
  i = ++entries
  kinds[i] = kind; plain[i] = ordinary; shown[i] = placeholder; originals[i] = original; folded[i] = tolower(original)
  at[kind, original] = i; shownLow[tolower(placeholder)]
  return i
}

function note(kind, ordinary, placeholder, original) {
  if ((kind, original) in at) return at[kind, original]
  print kind "\t" ordinary "\t" placeholder "\t" original >> map
  return add(kind, ordinary, placeholder, original)
}

function mark(i,  out) {
  if (!changed[kinds[i]]++) changedOf[++changedCount] = kinds[i]
  if (i == 0) return FROM TO
  while (i > 0) { out = substr(DIGITS, i % 6 + 1, 1) out; i = int(i / 6) }
  return FROM out TO
}

# entry finds or makes the entry of an original; forms of one thing share a number.
function entry(kind, original,  number, i) {
  if ((kind, original) in at) return at[kind, original]
  for (i = 1; i <= entries && !number; i++) if (kinds[i] == kind && folded[i] == tolower(original)) number = numberOf(kind, shown[i])
  if (!number) { number = 1; while ((kind, number) in used) number++ }
  used[kind, number]
  return note(kind, isOrdinary(original), placeholderOf(kind, number, original), original)
}

function numberOf(kind, placeholder) {
  if (kind == "mac") { gsub(/[:-]/, "", placeholder); return substr(placeholder, 7) + 0 }
  sub(/@.*/, "", placeholder); sub(/.*[^0-9]/, "", placeholder)
  return placeholder + 0
}

function placeholderOf(kind, number, original,  digits, c) {
  digits = sprintf("%06d", number)
  if (kind == "uuid") return (original ~ /[a-f]/ || original !~ /[A-F]/ ? "aaaaaaaa" : "AAAAAAAA") "-0000-4000-8000-000000" digits
  if (kind == "key") return (original ~ /\*/ ? "AAAAAA-******-******-******-" : "AAAAAA-AAAAAA-AAAAAA-AAAAAA-") digits
  if (kind == "mac" && match(original, /[:-]/)) { c = substr(original, RSTART, 1); return "00" c "1c" c "42" c substr(digits, 1, 2) c substr(digits, 3, 2) c substr(digits, 5, 2) }
  if (kind == "mac") return "001C42" digits
  if (kind == "serial of a vm") return "Parallels-AA AA AA AA 00 00 40 00 80 00 00 00 00 " substr(digits, 1, 2) " " substr(digits, 3, 2) " " substr(digits, 5, 2)
  if (kind == "address") return original ~ /:/ ? "2001:db8::" number : "192.0.2." number
  if (kind == "mail") return "mail-" number "@example.com"
  if (kind == "vm") return "VM-" number
  if (kind == "place") return "/place-" number
  return kind "-" number
}

function isOrdinary(original,  words, list, n, i) {
  words = tolower(original)
  gsub(/[^a-z\200-\364]+/, " ", words)
  n = split(words, list, " ")
  if (length(original) < 3) return 1
  for (i = 1; i <= n; i++) if (!(list[i] in ORDINARY)) return 0
  return n > 0 || length(original) < 6
}

# -- Learning: the forms in which a name can stand in an output.

function learn(kind, original,  i) {
  gsub(/[\t\r]/, " ", original)
  if (original == "" || original ~ /^[-0-9.]*$/ && length(original) < 3) return
  i = entry(kind, original)
  form(i, json(original)); form(i, swap(json(original), "/", "\\/"))
  form(i, xml(original, "&apos;", "&quot;")); form(i, xml(original, "&#39;", "&#34;"))
  form(i, xml(original, "'", "&quot;")); form(i, xml(original, "'", "\""))
  form(i, swap(original, " ", "%20"))
}

function form(i, text) { if (!((kinds[i], text) in at)) note(kinds[i], plain[i], shown[i], text) }
function json(s) { return swap(swap(s, "\\", "\\\\"), "\"", "\\\"") }
function xml(s, apostrophe, quote) {
  s = swap(swap(swap(s, "&", "&amp;"), "<", "&lt;"), ">", "&gt;")
  return swap(swap(s, "'", apostrophe), "\"", quote)
}

# swap replaces texts as they are: awks do not agree on backslashes in gsub.
function swap(s, old, new,  from, out) {
  while (old != "" && (from = index(s, old)) > 0) { out = out substr(s, 1, from - 1) new; s = substr(s, from + length(old)) }
  return out s
}

# -- Replacing in one line.

function bounded(s, from, size,  before, behind) {
  before = from > 1 ? substr(s, from - 1, 1) : " "; behind = substr(s, from + size, 1)
  return before !~ /[A-Za-z0-9\200-\364]/ && (behind == "" || behind !~ /[A-Za-z0-9\200-\364]/)
}

function terms(s, everywhere,  i, low) {
  low = tolower(s)
  for (i = 1; i <= ordered; i++)
    if (index(low, folded[order[i]])) { s = term(s, order[i], everywhere); low = tolower(s) }
  return s
}

# term replaces one original. The name of a virtual machine that is an ordinary
# word is replaced only where it stands as one: alone in quotes, at the end of a
# line, or behind --vm-name. Other ordinary words are left to paths and values.
function term(s, i, everywhere,  out, from, low, size) {
  size = length(originals[i]); low = tolower(s)
  while ((from = index(low, folded[i])) > 0) {
    if (bounded(s, from, size) && (!plain[i] || everywhere && kinds[i] == "vm" && standsAlone(s, from, size))) out = out substr(s, 1, from - 1) mark(i)
    else out = out substr(s, 1, from + size - 1)
    s = substr(s, from + size); low = substr(low, from + size)
  }
  return out s
}

function standsAlone(s, from, size,  head, tail) {
  head = substr(s, 1, from - 1); tail = substr(s, from + size)
  return (head ~ /['"]$/ && tail ~ /^['"]/) || head ~ /--vm-name $/ || (head ~ /[ \t]$/ && tail ~ /^[\r]?$/)
}

# pattern replaces whatever has a form.
function pattern(s, shape, kind,  out, found, from, size) {
  while (match(s, shape)) {
    found = substr(s, RSTART, RLENGTH); from = RSTART; size = RLENGTH
    if (isOf(kind, found) && (shape != DASHED && kind != "address" || bounded(s, from, size))) out = out substr(s, 1, from - 1) mark(entry(kind, found))
    else out = out substr(s, 1, from + size - 1)
    s = substr(s, from + size)
  }
  return out s
}

function isOf(kind, found,  part, i) {
  if (kind == "uuid") return found !~ /^[0-]*$/ && found != NOBODY
  if (kind != "address") return 1
  if (found ~ /:/) { i = gsub(/:/, ":", found); return found ~ /::/ && length(found) > 3 || i == 7 || i == 5 } # 5: a MAC address without leading zeros
  if (split(found, part, ".") != 4) return 0
  for (i = 1; i <= 4; i++) if (part[i] > 255) return 0
  return found !~ /^(127\.0\.0\.1|0\.0\.0\.0|255\..*)$/
}

function serials(s,  out, found, from, size, id) {
  while (match(s, SERIAL)) {
    from = RSTART; size = RLENGTH; found = substr(s, from, size); id = tolower(substr(found, 11)); gsub(/ /, "", id)
    id = substr(id, 1, 8) "-" substr(id, 9, 4) "-" substr(id, 13, 4) "-" substr(id, 17, 4) "-" substr(id, 21)
    id = numberOf("uuid", shown[entry("uuid", id)])
    out = out substr(s, 1, from - 1) mark(note("serial of a vm", 0, placeholderOf("serial of a vm", id, found), found))
    s = substr(s, from + size)
  }
  return out s
}

function patterns(s) {
  s = serials(s)
  s = pattern(s, UUID, "uuid"); s = pattern(s, KEY, "key"); s = pattern(s, MAC, "mac"); s = pattern(s, DASHED, "mac")
  s = pattern(s, "001[Cc]42" h6, "mac")
  if (s ~ /@/) s = pattern(s, "[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+", "mail")
  s = pattern(s, "[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+", "address")
  if (s ~ /:/) s = pattern(s, "[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f]*", "address")
  s = pattern(s, HASH h "*", "hash"); s = pattern(s, BLOB b "*", "data")
  return s
}

# arguments replaces the values of a machine's process: its name may be that of
# another account's machine, and written in another way than in lists.
function arguments(s,  out, option, rest, end, name) {
  if (s !~ /prl_vm_app/) return s
  while (match(s, /--(vm-name|log-dir|openvm) /)) {
    option = substr(s, RSTART, RLENGTH); out = out substr(s, 1, RSTART + RLENGTH - 1); rest = substr(s, RSTART + RLENGTH)
    end = match(rest, / --(vm-name|uuid|dir-uuid|log-dir|openvm) /) ? RSTART : length(rest) + 1
    name = substr(rest, 1, end - 1)
    if (option == "--vm-name ") out = out mark(("vm", name) in at ? at["vm", name] : entry("name", name))
    else out = out wholePath(name)
    s = substr(rest, end)
  }
  return out s
}

# row replaces the last column of a table, the name of a machine, known or not.
function row(s,  name) {
  if (match(s, /NAME[ \t\r]*$/)) nameColumn = RSTART
  else if (nameColumn && s ~ /^[^{]/) s = mark(entry("text", s)) # the rest of a name
  else if (nameColumn && length(s) >= nameColumn) {
    name = substr(s, nameColumn); s = substr(s, 1, nameColumn - 1)
    sub(/[ \t\r]+$/, "", name)
    if (name != "") s = s mark(entry("vm", name))
  }
  return s
}

function wholePath(path,  list) {
  split(path, list, "/")
  if (path !~ /^\/(Users|Volumes)\//) return mark(entry("text", path))
  return "/" list[2] "/" folders(substr(path, length(list[2]) + 3), "/", list[2] == "Users" ? "user" : "volume")
}

# paths replaces the folders of people: what is behind /Users, /Volumes and ~.
function paths(s,  out, from, size, separator, kind, body, end) {
  while (match(s, /(\\?\/(Users|Volumes)\\?\/)|(~\\?\/)/)) {
    from = RSTART; size = RLENGTH
    separator = substr(s, from, size) ~ /\\/ ? "\\/" : "/"
    out = out substr(s, 1, from + size - 1)
    kind = substr(s, from, size) ~ /Users/ ? "user" : substr(s, from, size) ~ /Volumes/ ? "volume" : ""
    body = substr(s, from + size); end = endOfPath(body)
    out = out folders(substr(body, 1, end - 1), separator, kind)
    s = substr(body, end)
  }
  return out s
}

# endOfPath is where something else than the path begins. A quote is part of the
# name behind a backslash.
function endOfPath(s,  i, c) {
  for (i = 1; i <= length(s); i++) {
    c = substr(s, i, 1)
    if (c == "\\") { i++; continue }
    if (c == "\"" || c == "<" || c == ">" || c == "\r") return i
    if (c == "'" && substr(s, i + 1) ~ /^($|[ ,;:)])/) return i
    if (c == " " && substr(s, i, 4) ~ /^ (--[a-z]|-> )/) return i
    if (c == ":" && substr(s, i + 1, 1) == " ") return i
  }
  return i
}

function folders(s, separator, kind,  list, n, i, out) {
  n = split(separator == "/" ? s : swap(s, "\\/", "/"), list, "/")
  for (i = 1; i <= n; i++) {
    out = out (i > 1 ? separator : "")
    if (i == 1 && kind != "" && list[1] != "Shared" && list[1] != "") out = out mark(entry(kind, list[1]))
    else out = out folder(list[i])
  }
  return out
}

function folder(name,  ending, base) {
  if (name == "" || name in FOLDER || name ~ /^harddisk[0-9]*[.]hdd/ || name ~ /^\.+$/) return name
  ending = ""; base = name
  if (match(name, /[.][A-Za-z0-9]+$/) && RLENGTH <= 7 && RSTART > 1) { ending = substr(name, RSTART); base = substr(name, 1, RSTART - 1) }
  if (("vm", base) in at || ending ~ /^[.](pvm|macvm|pvmp)$/) return mark(entry("vm", base)) ending
  return mark(entry("item", base)) ending
}

# -- Values by what they are: whatever is not known to be harmless is replaced.

function isPrivate(name) {
  if (name in OPEN) return 0
  return name ~ /([Nn]ame|[Dd]escription|[Ss]erial( number|Number)?|Hash[0-9]*|Salt|KeyId|[Oo]wner|[Uu]ser|[Pp]assword|AssetId|DeviceId|CustomProperty|Comment|Note|[Hh]ost|Label)s?$/
}

# isAccess tells what lets somebody in, or says to whom something belongs.
function isAccess(name) {
  return tolower(name) ~ /(organi[sz]ation|company|account|login|signed in as|registered to|e-?mail|domain|server|proxy|url|token|secret|hwid|(^|[ _])key|lic_key_hash)s?$/
}

function isHarmless(v, name) {
  if (v == "-" || v in SENTENCE || name ~ /^(RealOs.*|OsKernelVersion|DisplayVersion|BitLockerStatus|Boot order)$/) return 1
  if (v ~ /^[a-z0-9][a-z0-9_.:+*-]*$/ && length(v) <= 32) return 1
  if (v ~ /^[A-Z][A-Z_]*$/ && length(v) <= 16) return 1
  if (v ~ /^-?[0-9]+ ?(Mb|MB|Gb|GB|Kb|KB)?$/ || v ~ /^[0-9][0-9 :.()TZ-]*$/) return 1
  return v ~ /^Desktop [0-9.-]+$/ || v ~ /^(macOS|Mac OS X) [0-9.]+ ?\([0-9A-Za-z]+\)$/
}

# isDone tells that nothing but placeholders and harmless text is in a value.
function isDone(v) { return v ~ FROM && (v ~ /^(\\?\/(Users|Volumes)\\?\/|~)/ || v ~ ("^[{]?" FROM "[^" TO "]*" TO "[}]?$")) }

function value(v, name) {
  if (mode == "codes") return isCode(v, name) ? v : mark(entry("text", reveal(v)))
  if (v ~ /^[ \t\r]*$/ || isDone(v)) return v
  if (v ~ /^\{\\"/) return embedded(v)
  if (isPrivate(name) && v !~ /^[01]$/) return named(restored(v))
  if (isAccess(name) && v !~ /^([01]|on|off|yes|no|true|false|auto)$/) return named(restored(v))
  if (tolower(name) == "mac" || v ~ BARE && v ~ /[A-Fa-f]/) return mark(entry("mac", v))
  if (v ~ FROM) return v ~ ("^[" FROM DIGITS TO "a-z0-9_.:;{}-]*$") ? v : mark(entry("text", reveal(v)))
  if (isHarmless(v, name)) return v
  if (v ~ /^\\?\/(Applications|Library|System|dev|usr|bin|sbin)(\\?\/|$)/) return v
  return mark(entry("text", v))
}

function named(v) { return mark(("vm", v) in at ? at["vm", v] : ("vm", decoded(v)) in at ? at["vm", decoded(v)] : entry("name", v)) }

# fields replaces in a line of NAME: VALUE, or of NAME="VALUE" once or more.
function fields(s,  out, found, name, rest) {
  if (match(s, PAIR)) {
    while (match(s, PAIR)) {
      found = substr(s, RSTART, RLENGTH); rest = substr(s, 1, RSTART - 1); s = substr(s, RSTART + RLENGTH)
      name = found; sub(/=.*/, "", name); found = substr(found, length(name) + 2)
      out = out between(rest, out) name "=" substr(found, 1, 1) value(substr(found, 2, length(found) - 2), name) substr(found, 1, 1)
    }
    return out between(s, out)
  }
  if (!match(s, /^[ \t]*[A-Za-z][^:=]*[:=][ \t]*/)) return s
  out = substr(s, 1, RLENGTH); rest = substr(s, RLENGTH + 1); name = out
  gsub(/^[ \t]+|[ \t]*[:=][ \t]*$/, "", name)
  return out value(rest, name)
}

# between is what stands beside the pairs of a line: the name in front of them,
# or the rest of a value with a quote in it.
function between(s, before) { return s ~ /^[ \t,;\r]*$/ || before == "" && s ~ /^[ \t]*[A-Za-z][A-Za-z ]*:[ \t]*$/ ? s : value(s, "") }

# embedded is a JSON text inside a JSON string.
function embedded(v,  saved, out) {
  v = swap(swap(v, "\\\"", "\""), "\\\\", "\\")
  saved = depth
  out = objects(v)
  depth = saved
  return json(out)
}

# objects replaces in the strings of a JSON text.
function objects(s,  list, n, i, string, outer, j, c, out) {
  n = split(s, list, "\"")
  for (i = 1; i <= n; i++) {
    outer = list[i]; out = out outer
    for (j = 1; j <= length(outer); j++) {
      c = substr(outer, j, 1)
      if (c == "{" || c == "[") parents[++depth] = key
      else if ((c == "}" || c == "]") && depth > 0) key = parents[depth--]
    }
    if (i == n) break
    string = list[++i]
    while (string ~ /(^|[^\\])(\\\\)*\\$/ && i < n) string = string "\"" list[++i]
    if (list[i + 1] ~ /^[ \t]*:/) { key = decoded(string); out = out "\"" keyOf(string) "\"" }
    else out = out "\"" value(string, key) "\""
  }
  return out
}

# isCode tells what of an answer of ours is one of the agent's own codes.
function isCode(v, name) { return name ~ /^(id|outcome|severity|code|worst|depends_on)$/ && v ~ /^[a-z][a-z0-9_]*$/ && length(v) <= 40 }

function keyOf(name) {
  if (mode == "codes") return name ~ /^[a-z][a-z_]*$/ && length(name) <= 16 ? name : mark(entry("key name", name))
  if (depth > 0 && parents[depth] ~ /Shared Folders$/ && name !~ /^(enabled|Automount|path|mode)$/) return mark(entry("share", name))
  return name ~ /^[A-Za-z0-9 _.,:()\/\\-]*$/ || name ~ FROM ? name : mark(entry("key name", name))
}

# unwrapped makes plain text of CDATA and drops comments; either may end in
# another line.
function unwrapped(s,  out, from, end) {
  while (s != "") {
    end = wrapped == "" ? 0 : index(s, wrapped)
    if (wrapped != "") {
      from = end ? substr(s, 1, end - 1) : s
      if (wrapped == "]]>") out = out xml(from, "'", "\"")
      if (!end) return out
      s = substr(s, end + 3); wrapped = ""
    }
    if (!match(s, /<!(--|\[CDATA\[)/)) return out s
    out = out substr(s, 1, RSTART - 1); wrapped = RLENGTH == 4 ? "-->" : "]]>"
    s = substr(s, RSTART + RLENGTH)
  }
  return out
}

# elements replaces in the text between the tags of XML.
function elements(s,  list, n, i, end, tag, out) {
  n = split(unwrapped(s), list, "<")
  out = value(list[1], nameOf(element))
  for (i = 2; i <= n; i++) {
    end = index(list[i], ">")
    if (end == 0) { out = out "<"; continue }
    tag = substr(list[i], 1, end)
    if (tag ~ TAG) { element = tag; sub(/[ \t\/>].*/, "", element); tag = attributes(tag) }
    else if (tag ~ /^\/[A-Za-z][A-Za-z0-9_.:-]*[ \t]*>$/) element = ""
    else if (tag !~ /^(\?xml( (version|encoding|standalone)="[A-Za-z0-9.-]*")*[ ]?\?|!DOCTYPE plist PUBLIC "-\/\/Apple[A-Za-z ]*\/\/DTD PLIST 1.0\/\/EN" "https?:\/\/www.apple.com\/DTDs\/PropertyList-1.0.dtd")>$/) tag = "!-- -->"
    if (element == "key") { key = substr(list[i], end + 1); out = out "<" tag keyOf(key); continue }
    out = out "<" tag value(substr(list[i], end + 1), nameOf(element))
  }
  return out
}

# nameOf is the name of an element's value: in a property list that of the key before it.
function nameOf(element) { return key != "" && element ~ /^(string|integer|real|date|data)$/ ? key : element }

function attributes(tag,  out, name, quote, end) {
  while (match(tag, /=[ \t]*["']/)) {
    out = out substr(tag, 1, RSTART + RLENGTH - 1); name = substr(tag, 1, RSTART - 1)
    quote = substr(tag, RSTART + RLENGTH - 1, 1); tag = substr(tag, RSTART + RLENGTH); end = index(tag, quote)
    out = out (name ~ /[ \t](dyn_lists|schemaVersion|version)[ \t]*$/ ? substr(tag, 1, end - 1) : value(substr(tag, 1, end - 1), "attribute")) quote
    tag = substr(tag, end + 1)
  }
  return out tag
}

# -- Outputs of which only what is known is kept: a system's log, a signature, a
# job, a profile and an environment can hold anything of anybody.

function vocabulary() {
  # what macOS says of failures (errno.h, facts/acting.md 3)
  fill(WORD, "a accept access accepted administrator adhoc all allowed already an and any are arguments argument as at audit bad be been before busy but by call cannot code connection connect could denied device directory disabled disk does domain done eof error errors executable exec exist exit expected failed failure file files for found from full group has have help id if in input internal interrupted invalid io is it large list many match missing mode more must name needed network new no none not now number of on once only open operation or out output owner ownership path permission permissions permitted please print privileges process progress protocol read received refused remote request required resource richer root running run say service session signal size socket space specified still such sudo support supported switch system temporarily terminated that the there this time timed to too try type unable unavailable unexpected unknown unrecognized unsupported update usage used user using value was wait warning with without write wrong yes you zsh sh bash ls stat env true false")
  fill(WORD, "find bootstrap bootout boot out kickstart enable enabled disable subcommand launchctl integrity protection engaged gui specifier target hit action apple computer")
  # what print shows of a job
  fill(WORD, "active count state spawn scheduled pid runs last program inherited environment default endpoints stdout stderr minimum runtime timeout daemon adaptive interactive background standard submitted spawned initialized trampolined started suspended proxy forks execs immediate reason speculative demand properties keepalive keep alive runatload inferred bundle version asid jetsam priority memory limit thread coalition resource never exited signaled waiting attempts job policy launchdaemon launchagent events event triggers machservices mach services sockets umask working trial nice uncached pended managed aqua loginwindow standardio pressured com org net bin usr sbin var private library system applications support parallels desktop prlagent prlagentd agent first mac firstmac launchdaemons plist tmp users shared volumes state logs log db root wheel admin staff contents macos app pvm documents downloads preferences movies music pictures public volume")
  # what is said of packages, signatures and receipts
  fill(WORD, "installer installd package packages pkg packagekit pkgutil script scripts service preinstall postinstall installing install installed installation upgrading upgrade base successful unsuccessful attempting begin began end ended executing executed execute elapsed seconds summary information extracting extracted registered register receipt receipts location timestamp configuration finalize finalizing cleanup sandbox removing remove temporary writing verify verifying validating validated preparing prepare destination requires restart product archive distribution checksum mismatch payload bom link ours stays line command its made schema store newer older downgrade upgraded backup refused released holds locks launchd identifier format thin universal arm64 x86 x86_64 codedirectory flags runtime hashes sealed resources designated anchor generic certificate leaf subject ou field exists cdhash signed signature status notarized developer application trusted untrusted rejected source authority chain teamidentifier set unsigned hardened library-validation sha1 sha256 spctl assessment policy override linker")
  # what our own package's scripts and programs say
  fill(WORD, "again anew associations brings exchange folder leads one programs stopped then where check txt managedprefs readable regular grep inventory item login if it allow allows can change changed chmod chown contact copied assistance caused encountered fail force give go gone had kept keeps knows know locked manufacturer nothing occurred others package_script_service purge reads release removed replaces rest see should so software stop than through uninstall up w what which while last ended more start does")
  # what notifies, and where it runs
  fill(WORD, "notifications notification display dialog swiftdialog osascript argv end handler healthy degraded unhealthy not_running not_answering not_installed peer bytes same other mine uid gid groups group prlctl prlsrvctl sock bundle of managername peercred peerpid enrolled via dep mdm enrollment approved server configured profiles profile there no")
  fill(VARIABLE, "PATH HOME SHELL USER LOGNAME TERM LANG LC_ALL LC_CTYPE TMPDIR MAIL PWD OLDPWD SHLVL SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID SUDO_HOME SSH_AUTH_SOCK XPC_FLAGS XPC_SERVICE_NAME __CF_USER_TEXT_ENCODING COMMAND_MODE SECURITYSESSIONID TERM_PROGRAM TERM_PROGRAM_VERSION TERM_SESSION_ID DISPLAY HOMEBREW_PREFIX _")
  fill(MEMBER, "PayloadType PayloadVersion PayloadIdentifier PayloadUUID PayloadDisplayName PayloadDescription PayloadOrganization PayloadScope PayloadEnabled PayloadContent PayloadRemovalDisallowed ProfileIdentifier ProfileType ProfileUUID ProfileVersion ProfileItems ProfileInstallDate ProfileDisplayName ProfileDescription ProfileOrganization ProfileRemovalDisallowed ProfileVerificationState ProfileUninstallPolicy ProfileSource _computerlevel _manualProfile Forced mcx_preference_settings Services SystemPolicyAllFiles Accessibility Identifier IdentifierType CodeRequirement StaticCode Allowed Authorization Comment Rules RuleType RuleValue TeamIdentifier NotificationSettings BundleIdentifier NotificationsEnabled AlertType ShowInNotificationCenter ShowInLockScreen CriticalAlertEnabled BadgesEnabled SoundsEnabled ActivationExperience LicenseKey " agent)
  fill(MEMBER, "ServerURL Mode Group SiteID EnrollmentSecret PolicyKeys CommandKeys KeyID PublicKey PolicyThreshold CommandThreshold AllowedCommands DestructiveLimit ServerCertificates VendorGates AllowUnprovenLocks Policy Notify Disabled KeepAlive AbandonProcessGroup Label Program ProgramArguments RunAtLoad ExitTimeOut ThrottleInterval ProcessType Umask WorkingDirectory StandardErrorPath StandardOutPath EnvironmentVariables AssociatedBundleIdentifiers")
  fill(PAYLOAD, "com.apple.TCC.configuration-profile-policy com.apple.servicemanagement com.apple.notificationsettings com.apple.ManagedClient.preferences com.parallels.desktop.managedprefs Configuration org.prlagent.agent")
}

# words keeps the words that are known, numbers and signs.
function words(s,  out, word) {
  while (match(s, /[A-Za-z0-9_\200-\364]+/)) {
    word = substr(s, RSTART, RLENGTH)
    out = out substr(s, 1, RSTART - 1) (tolower(word) in WORD || word ~ /^[0-9]+$/ && length(word) <= 6 ? word : mark(entry("text", word)))
    s = substr(s, RSTART + RLENGTH)
  }
  return out s
}

# jobLine keeps what launchctl print shows of the job itself; of what is in braces,
# as arguments and an environment, only how much it is.
function jobLine(s) {
  if (s ~ /^[ \t]*[}]/) { level--; return level < 2 ? words(s) : "" }
  if (s ~ /[{][ \t]*$/) { level++; return level < 3 ? words(s) : "" }
  return level < 2 ? words(s) : "" (inside[level]++ < 64 && s !~ /^[ \t]*$/ ? "\t\t…" : "")
}

# process keeps the program of a process, if it is one of Parallels Desktop, and its options.
# What is behind them may be a password, and another program may have anything.
function process(s,  out, list, n, i) {
  match(s, /^[ 0-9]*/); out = substr(s, 1, RLENGTH); s = substr(s, RLENGTH + 1)
  if (index(s, PROGRAMS) == 1) {
    out = out PROGRAMS; s = substr(s, length(PROGRAMS) + 1)
    if (match(s, /^\/?(Parallels )?[A-Za-z0-9_]+[.]app\/Contents\/MacOS\//)) { out = out substr(s, 1, RLENGTH); s = substr(s, RLENGTH + 1) }
    if (match(s, /^[A-Za-z0-9_]+/)) { out = out substr(s, 1, RLENGTH); s = substr(s, RLENGTH + 1) }
  }
  n = split(s, list, /[ ]/)
  for (i = 1; i <= n; i++) {
    if (list[i] ~ FROM) list[i] = words(list[i])
    else if (list[i] != "" && list[i] !~ /^--?[a-z][a-z-]*$/) list[i] = mark(entry("text", list[i]))
    out = out (i > 1 ? " " : "") list[i]
  }
  return out
}

# quoted replaces what an error message has in quotation signs and is no known word: a
# name, also of a machine that the script could not learn of.
function quoted(s,  out, from, sign, end) {
  while (match(s, /"|“|‘|(^|[ (=:])'/)) {
    from = RSTART + RLENGTH; sign = substr(s, RSTART, RLENGTH)
    out = out substr(s, 1, from - 1); s = substr(s, from)
    sign = sign ~ /“/ ? "”" : sign ~ /‘/ ? "’" : sign ~ /"/ ? "\"" : "'"
    end = index(s, sign)
    if (!end) return out words(s)
    out = out words(substr(s, 1, end - 1)) sign; s = substr(s, end + length(sign))
  }
  return out s
}

# target keeps of the path that a link leads to the words that are known.
function target(s,  from) {
  from = index(s, " -> ")
  return from > 0 ? substr(s, 1, from + 3) words(substr(s, from + 4)) : s
}

# variable keeps which variables there are, and of those that are known the words
# that are.
function variable(s,  name) {
  if (!match(s, /^[A-Za-z_][A-Za-z0-9_]*=/)) return ""
  name = substr(s, 1, RLENGTH - 1)
  if (!(name in VARIABLE)) return mark(entry("name", name)) "="
  return name "=" words(substr(s, RLENGTH + 1))
}

# member is where a value of a property list is, in keys that are known.
function member(  i, out) {
  for (i = 1; i <= depth && i <= 8; i++) out = out (parents[i] == "" ? "" : parents[i] "/")
  return out (depth > 8 ? "…" : depth > 0 && parents[depth] ~ /\[\]$/ ? "" : key)
}

function found(what,  where) {
  where = member() " " what
  if (!(where in shapes)) { shapes[where] = 0; shapesOf[++shapesCount] = where }
  shapes[where]++
}

# shape learns which keys a property list has and of which types their values are;
# no value is kept but switches and types of payloads that are known.
function shape(s,  list, n, i, end, tag, body) {
  n = split(unwrapped(s), list, "<")
  for (i = 2; i <= n; i++) {
    end = index(list[i], ">")
    if (end == 0) continue
    tag = substr(list[i], 1, end - 1); body = substr(list[i], end + 1)
    if (tag == "key") { key = body in MEMBER ? body : "?"; continue }
    if (tag == "dict" || tag == "array") { parents[++depth] = (key == "" ? "" : key) (tag == "array" ? "[]" : ""); key = "" }
    else if ((tag == "/dict" || tag == "/array") && depth > 0) { depth--; key = "" }
    else if (tag == "dict/" || tag == "array/") found("empty " substr(tag, 1, length(tag) - 1))
    else if (tag == "true/" || tag == "false/") found(key in MEMBER ? substr(tag, 1, length(tag) - 1) : "switch")
    else if (tag == "string" && key == "PayloadType") found(body in PAYLOAD ? body : "another")
    else if (tag ~ /^(string|integer|real|date|data)\/?$/) { sub(/\/$/, "", tag); found(tag) }
  }
}

# strictly replaces in a line by one of these ways.
function strictly(s) {
  if (mode == "variables") return variable(s)
  if (mode == "processes") return process(s)
  return mode == "job" ? jobLine(s) : words(s)
}

# -- Tasks.

# isTerm tells kinds that are looked for everywhere; others are what a form or a
# place made of them.
function isTerm(i) { return kinds[i] ~ /^(user|person|computer|serial|vm|place)$/ }

function sortByLength(  i, j) {
  for (i = sorted + 1; i <= entries; i++) {
    if (!isTerm(i)) continue
    for (j = ordered++; j > 0 && length(originals[order[j]]) < length(originals[i]); j--) order[j + 1] = order[j]
    order[j + 1] = i
  }
  sorted = entries
}

function reveal(s) { return unmarked(s, shown) }
function restored(s) { return unmarked(s, originals) }

function unmarked(s, texts,  out, from, end, i, j, digits) {
  while ((from = index(s, FROM)) > 0) {
    end = index(s, TO); digits = substr(s, from + 1, end - from - 1); i = 0
    for (j = 1; j <= length(digits); j++) i = i * 6 + index(DIGITS, substr(digits, j, 1)) - 1
    out = out substr(s, 1, from - 1) texts[i]
    s = substr(s, end + 1)
  }
  return out s
}

function clean(s,  out, i, c) {
  if (s !~ /[\365-\377]/) return s
  for (i = 1; i <= length(s); i++) { c = substr(s, i, 1); out = out (c ~ /[\365-\377]/ ? "?" : c) }
  return out
}

function redact(s) {
  s = swap(swap(s, work "/", ""), root, "")
  if (mode == "help") return reveal(terms(s, 0))
  if (mode == "table") s = row(s)
  s = terms(patterns(paths(mode ~ /^(text|errors|processes)$/ ? arguments(s) : s)), mode ~ /^(text|errors|table|processes)$/)
  if (mode ~ /^(words|job|variables|processes)$/) return reveal(strictly(s))
  if (mode ~ /^(text|errors)$/) s = target(s)
  if (mode == "errors") s = quoted(s)
  if (mode == "json" || mode == "codes") s = objects(s)
  if (mode == "fields") s = fields(s)
  if (mode == "xml") s = elements(s)
  return swap(reveal(s), LINE, "\n")
}

function quotes(s) { gsub(/\\./, "", s); return gsub(/"/, "", s) }

function values(s,  list, n, i, string) {
  n = split(s, list, "\"")
  for (i = 2; i <= n; i++) {
    string = list[i]
    while (string ~ /(^|[^\\])(\\\\)*\\$/ && i < n) string = string "\"" list[++i]
    i++
    if (list[i] ~ /^[ \t]*:/) { key = string; if (list[i] ~ /^[ \t]*:[ \t]*$/) continue }
    else if (key == wanted) print wanted "\t" swap(decoded(string), LINE, "\n" wanted "\t")
  }
}

function decoded(s,  out, c) {
  while (match(s, /\\./)) {
    out = out substr(s, 1, RSTART - 1); c = substr(s, RSTART + 1, 1); s = substr(s, RSTART + 2)
    if (c == "u") { out = out utf8(hex(substr(s, 1, 4))); s = substr(s, 5) }
    else if (index("\"\\/", c)) out = out c
    else out = out "?"
  }
  return out s
}

function hex(s,  i, n) { for (i = 1; i <= length(s); i++) n = n * 16 + index("123456789abcdef", tolower(substr(s, i, 1))); return n + 0 }

function utf8(n) {
  if (n < 32) return "?"
  if (n < 128) return sprintf("%c", n)
  if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
  return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
}

# A string of JSON may have a raw line end in it: taken joins lines until its quotes
# are closed, and tells whether they are.
function taken(line) {
  text = waiting ? text LINE line : line
  if (quotes(text) % 2 && length(text) < 65536 && waiting++ < 64) return 0
  waiting = 0
  return 1
}

# convert replaces in a file, and writes another.
function convert(from, into, as,  line, i) {
  mode = as; key = ""; element = ""; wrapped = ""; text = ""
  depth = 0; waiting = 0; level = 0; shapesCount = 0; nameColumn = 0
  split("", parents); split("", inside); split("", shapes); split("", shapesOf)
  sortByLength()
  printf "" >into
  while ((getline line < from) > 0) {
    if (mode == "shape") shape(clean(line))
    else if (mode !~ /^(json|codes)$/) print redact(clean(line)) >into
    else if (taken(clean(line))) print redact(text) >into
  }
  if (waiting) print redact(text) >into
  for (i = 1; i <= shapesCount; i++) print shapesOf[i] " x" shapes[shapesOf[i]] >into
  close(from); close(into)
}

# modeOfErrors is how what a command writes to its standard error is read.
function modeOfErrors(as) { return as == "help" ? as : as ~ /^(words|job|variables|processes|shape|codes)$/ ? "words" : "errors" }

# settleEntry writes what one command has said, and its line of the manifest:
# SLOT STEP QUESTION MODE EXIT ENDED SECONDS, and then its words.
function settleEntry(  part, name, counts, i) {
  if (entryLine == "") return
  split(entryLine, part, "\t"); entryLine = ""
  name = sprintf("%03d", part[1])
  split("", changed); changedCount = 0
  convert(part[1] ".out.text", "first-mac/" name ".out", part[4])
  convert(part[1] ".err.text", "first-mac/" name ".err", modeOfErrors(part[4]))
  for (i = 1; i <= changedCount; i++) counts = counts (i > 1 ? "," : "") "\"" changedOf[i] "\":" changed[changedOf[i]]
  mode = "text"
  if (private) spoken = redact(clean(spoken)) # an id or a path
  printf "{\"step\":\"%s\",\"question\":\"%s\",\"command\":[%s],\"stdout\":\"%s.out\",\"stderr\":\"%s.err\",\"exit\":%s,\"ended\":\"%s\",\"seconds\":%s,\"truncated\":%s,\"replaced\":{%s}}\n", \
    part[2], part[3], spoken, name, name, part[5], part[6], part[7], ((part[1] in long) ? "true" : "false"), counts >>"entries"
  spoken = ""; private = 0
}

# settle reads the queue of a step: an entry's line, and behind a tab each word.
function settle(line,  word) {
  if (line !~ /^\t/) { settleEntry(); entryLine = line; return }
  word = substr(line, 2); gsub(/[\001-\037]/, "", word)
  if (spoken != "" && word ~ /[^a-z -]/) private = 1
  spoken = spoken (spoken == "" ? "" : ",") "\"" json(word) "\""
}

function cutOff(  name) {
  while ((getline name < "long") > 0) { sub(/.*\//, "", name); sub(/[.].*/, "", name); long[name] }
}

task == "settle" && NR == 1 { cutOff() }
task == "settle" { settle($0); next }
task == "learn" { kind = $0; sub(/\t.*/, "", kind); learn(kind, substr($0, length(kind) + 2)); next }
task == "check" {
  if (FILENAME in left) next
  low = tolower($0)
  for (i = 1; i <= entries; i++)
    if (!plain[i] && (isTerm(i) || kinds[i] ~ /^(uuid|key|mac|mail)$/) && !(folded[i] in shownLow) &&
      (from = index(low, folded[i])) > 0 && (length(folded[i]) > 5 || bounded($0, from, length(folded[i])))) { left[FILENAME]; print FILENAME; next }
  next
}
task == "values" {
  if (FNR == 1) { if (waiting) values(text); waiting = 0; wanted = sought }
  if (taken(clean($0))) values(text)
}

END {
  if (task == "values" && waiting) values(text)
  if (task == "settle") settleEntry()
}
AWK
}

# write_peer writes what asks a socket who is at its other end: perl has no names
# for SOL_LOCAL (0), LOCAL_PEERCRED (1) and LOCAL_PEERPID (2; facts/macos.md 14).
write_peer() {
  cat >"$work/peer" <<'PERL'
use Socket;
alarm 10;
my ($path, @through) = @ARGV;
$path =~ s{^(.*)/}{} and chdir $1 or die "chdir: $!\n"; # a longer path would be cut off
my $other = 'use Socket; alarm 10; socket S, PF_UNIX, SOCK_STREAM, 0; connect S, sockaddr_un(shift) or die "connect: $!\n"; sysread S, $x, 1';
socket L, PF_UNIX, SOCK_STREAM, 0 or die "socket: $!\n";
bind L, sockaddr_un($path) or die "bind: $!\n";
chmod 0666, $path;
listen L, 1;
my $child = fork;
if (!$child) { exec @through, $^X, '-e', $other, $path; exit 1 }
accept C, L or die "accept: $!\n";
my $credentials = getsockopt C, 0, 1;
my $error = "$!";
if (defined $credentials) {
  my ($version, $uid, $groups) = unpack 'IIs', $credentials;
  print "peercred bytes ", length $credentials, " version $version uid $uid mine $< groups $groups\n";
} else { print "peercred: $error\n" }
my $pid = getsockopt C, 0, 2;
print defined $pid ? 'peerpid ' . (unpack('i', $pid) == $child ? 'same' : 'other') . "\n" : "peerpid: $!\n";
close C;
waitpid $child, 0;
unlink $path;
PERL
}

# program runs it, and notes if it failed; the names it knows are in the folder that is removed at the end.
program() {
  FIRSTMAC_WORK="$work" FIRSTMAC_ROOT="$root" awk -f "$work/program" "$@" || : >"$work/broken"
}

# named puts before each line of what kind its name is.
named() { while IFS= read -r name_ || [ "$name_" ]; do printf '%s\t%s\n' "$1" "$name_"; done; }

# only keeps the values of one key.
only() { sed -n "s/^$1	//p"; }

# ---- Running a command with a limit and a cap ------------------------------

rest() { sleep "$1" 2>/dev/null || sleep 1; }

# tree prints a process and all below it.
tree() {
  ps -A -o pid= -o ppid= | awk -v top="$1" '
    { parent[$1] = $2 }
    END { for (p in parent) for (q = p; q in parent && n[p]++ < 64; q = parent[q]) if (q == top) { print p; break } }'
}

# signal sends it. What sudo has started is root's.
signal() { # SIGNAL PID…
  how_=$1
  shift
  for process in "$@"; do
    kill "-$how_" "$process" 2>/dev/null || { [ "$became" ] && ps -p "$process" >/dev/null 2>&1 && "$sudo" -n /bin/kill "-$how_" "$process" >/dev/null 2>&1; }
  done
  return 0
}

# A program that perl starts in a session of its own cannot ask for a password on
# the terminal, and its time is measured to the millisecond. sudo knows by the
# terminal that its password was given: it stays in this session (timed).
# shellcheck disable=SC2016 # perl's variables
apart='$how = shift; $file = shift; if ($how eq "yes") { require POSIX; POSIX::setsid() } $began = Time::HiRes::time(); $child = fork;
if (defined $child && !$child) { exec {$ARGV[0]} @ARGV or exit 127 }
waitpid $child, 0; $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
open $out, ">", $file; printf $out "%.3f", Time::HiRes::time() - $began; close $out; exit $code'

# begin starts a command in a slot: its output goes through a cap, and it has no
# input. A signal that ends the script does not end one that is steady, and of any
# other it is known which process it is.
begin() { # SLOT COMMAND…
  slot="$work/$1"
  shift
  for part in out err pid code seconds 'done'; do : >"$slot.$part"; done
  printf '%s' "$steady" >"$slot.steady"
  if [ "$detach" ]; then set -- perl -MTime::HiRes -e "$apart" "$detach" "$slot.seconds" "$@"; else started=$(date +%s); fi
  (
    # shellcheck disable=SC2086 # several signals
    [ ! "$steady" ] || trap '' $signals
    { { {
      [ "$steady" ] || trap : TERM HUP # INT and QUIT do not reach what runs in the background
      "$@" </dev/null 2>&1 1>&3 3>&- 7>&- &
      echo "$!" >"$slot.pid"
      [ "$steady" ] || trap - TERM HUP
      wait "$!"
      echo "$?" >"$slot.code"
    } | head -c "$cap" >"$slot.err"; } 3>&1 | head -c "$cap" >"$slot.out"; }
    echo yes >"$slot.done"
  ) >/dev/null 2>&1 &
}

# finish waits for it until its limit and kills it then; a limit of 0 is now.
finish() { # SLOT LIMIT
  slot="$work/$1" ended=exit code=null seconds=$2
  deadline='' pause=0.05 polls=0
  while [ ! -s "$slot.done" ] && [ "$2" != 0 ]; do
    polls=$((polls + 1))
    if [ $((polls % 10)) = 0 ]; then # a short command needs no clock
      now=$(date +%s) pause=0.1
      [ "$now" -lt "${deadline:=$((now + $2))}" ] || break
    fi
    rest "$pause"
  done
  if [ ! -s "$slot.done" ]; then
    ended=killed
    doomed=$(tree "$(cat "$slot.pid" 2>/dev/null)") # before the first ends and leaves the others
    for how in TERM KILL; do
      # shellcheck disable=SC2086 # one word for each process
      signal "$how" $doomed
      tries=0
      while [ ! -s "$slot.done" ] && [ "$tries" -lt 20 ]; do
        rest 0.1
        tries=$((tries + 1))
      done
      [ ! -s "$slot.done" ] || break
    done
  fi
  if [ -s "$slot.seconds" ]; then read -r seconds <"$slot.seconds" || :; elif [ ! "$detach" ]; then seconds=$(($(date +%s) - started)); fi
  [ ! -s "$slot.code" ] || [ "$ended" = killed ] || read -r code <"$slot.code"
}

# ---- The manifest -----------------------------------------------------------

# keep notes what a slot holds, for the end of the step.
keep() { # QUESTION MODE SLOT COMMAND…
  {
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$3" "$step" "$1" "$2" "$code" "$ended" "$seconds"
    shift 3
    printf '\t%s\n' "${1##*/}"
    shift
    for argument in "$@"; do
      case $argument in '') ;; "$package") argument=PACKAGE ;; "$removal") argument=UNINSTALL ;; esac # their names may be private
      printf '\t%s\n' "$argument"
    done
  } >>"$work/queue"
}

# settle replaces what a step has kept, and removes what it was.
settle() {
  [ -s "$work/queue" ] || return 0
  find "$work" -name '[0-9]*.[oe]*' -size "+$((cap / 512 - 1))" >"$work/long"
  for said in "$work"/[0-9]*.out "$work"/[0-9]*.err; do
    if [ -s "$said" ]; then tr -d '\000' <"$said" >"$said.text"; fi
  done
  (cd "$work" && program -v task=settle queue)
  rm -f "$work"/[0-9]* "$work/queue"
}

# next_slot is the place of the next answer.
next_slot() { number=$((number + 1)); }

# fill_slot is an answer that no command gives.
fill_slot() { # SLOT TEXT
  printf '%s' "$2" >"$work/$1.out"
  : >"$work/$1.err"
  echo yes >"$work/$1.done"
  code=null ended=exit seconds=0
}

# run is one command of a step. MODE says how its output is read: help (no names are in
# it), text, table, fields, json, codes, xml, shape, words, job, variables or processes.
run() { # QUESTION MODE COMMAND…
  if [ "$list" ]; then
    shown=${3##*/}
    shift 3
    say "    $shown $*"
    return
  fi
  question=$1 mode=$2
  shift 2
  next_slot
  begin "$number" "$@"
  finish "$number" "$limit"
  keep "$question" "$mode" "$number" "$@"
}

# ---- Files ------------------------------------------------------------------

# links tells that some folder of the path, or its end, is a link.
links() {
  rest_=$1 part_="$root"
  while [ "$rest_" ]; do
    rest_=${rest_#/}
    part_="$part_/${rest_%%/*}"
    [ ! -h "$part_" ] || return 0
    case $rest_ in */*) rest_=/${rest_#*/} ;; *) rest_='' ;; esac
  done
  return 1
}

# file keeps one file of at most the cap; links and all that is no plain file
# are left alone.
file() { # QUESTION MODE PATH
  if [ "$list" ]; then
    say "    read $3"
    return
  fi
  case $3 in */../* | */..) return ;; /*) ;; *) return ;; esac
  next_slot
  fill_slot "$number" ''
  if links "$3"; then
    ended='link'
  elif [ ! -f "$root$3" ]; then
    ended=missing
  elif [ ! -r "$root$3" ]; then
    ended=refused
  else
    begin "$number" head -c "$cap" "$root$3"
    finish "$number" "$limit"
  fi
  keep "$1" "$2" "$number" read "$3"
}

# ---- Questions to the person ------------------------------------------------

# ask asks before a step; fails if it is not wanted. A change is asked for also behind the
# answer all, and Return alone, which may have been pressed once too often, is no yes to it.
ask() { # WHAT THE STEP DOES
  case $all,$1 in answered,CHANGE*) ;; yes,* | answered,*) return 0 ;; esac
  while :; do
    printf '  Run this step? [y]es, [n]o, [a]ll, [q]uit: '
    read -r answer || answer=q
    case $answer in
      '') case $1 in CHANGE*) ;; *) return 0 ;; esac ;;
      y | Y | yes) return 0 ;;
      n | N | no) return 1 ;;
      a | A | all) all=answered persons=${persons:-yes}; return 0 ;;
      q | Q | quit) say ''; say 'Nothing was kept.'; exit 1 ;;
    esac
  done
}

# wait_for waits for Return, or with --yes for half of --events.
wait_for() {
  say "  $1"
  if [ "$persons" ]; then
    printf '  Press Return then: '
    read -r answer || say ''
  else
    say "  You have $((events / 2)) seconds."
    rest "$((events / 2))"
  fi
}

begin_step() { # NAME MINUTES WHAT IT READS
  step=$1
  [ "$list" ] || settle
  say ''
  say "$1 (about $2): $3"
  [ "$list" ] || ask "$3" || { skipped="$skipped,\"$1\""; say '  left out'; return 1; }
}

# ---- The steps --------------------------------------------------------------

categories='cpus memory boot video mouse keyboard printers usb bluetooth startup optimization travel security smartguard protection
modality fullscreen coherence timesync device_mgmt shared_folders shared_profiles shared_apps smart_mounts misc_sharing advanced misc network_cond'

versions() {
  begin_step versions '1 minute' 'the versions of macOS and Parallels Desktop, and who owns its programs' || return 0
  run 'macos.md 8' help sw_vers
  run 'macos.md 8' help uname -m
  run 'macos.md 8' help "$root/usr/sbin/sysctl" -n hw.optional.arm64
  run 'prlctl.md 1.1' help "$prlctl" --version
  run 'prlctl.md 1.1' help "$prlsrvctl" --version
  run 'macos.md 15.11' text ls -ldn "$app" "$bin" "$prlctl" "$prlsrvctl" "$root/usr/local/bin" "$root/usr/local/bin/prlctl"
  run 'acting.md 4' text codesign -dv "$app"
}

help_texts() {
  begin_step help '2 minutes' 'the help texts of prlctl and prlsrvctl' || return 0
  run 'prlctl.md 11.1' help "$prlctl" --help
  for action in list snapshot-list; do run 'prlctl.md 11.1' help "$prlctl" "$action" --help; done
  run 'prlctl.md 11.1' help "$prlctl" set --help
  for category in $categories; do
    question=11.1
    case $category in misc_sharing) question=11.2 ;; security) question=11.3 ;; esac
    run "prlctl.md $question" help "$prlctl" set "$category" --help
  done
  run 'prlctl.md 11.1' help "$prlsrvctl" --help
  run 'prlctl.md 11.1' help "$prlsrvctl" set --help
}

license() {
  begin_step license '1 minute' 'the state of the license and the settings of Parallels Desktop; keys are replaced' || return 0
  run 'prlctl.md 11.6' fields "$prlsrvctl" info
  run 'prlctl.md 11.6' json "$prlsrvctl" info --json
  run 'prlctl.md 11.6' fields "$prlsrvctl" info --license
  run 'prlctl.md 11.6' json "$prlsrvctl" info --license --json
  run 'prlctl.md 1.3' json "$prlsrvctl" user list --json
  run 'prlctl.md 1.3' json "$prlsrvctl" net list --json
  file 'captures.md 4.5' json /Library/Preferences/Parallels/licenses.json
}

lists() {
  begin_step lists '2 minutes' 'the list of your virtual machines and their settings; names are replaced' || return 0
  if [ ! "$list" ]; then : >"$work/before"; rest 1; fi
  run 'prlctl.md 2.4' table "$prlctl" list -a
  run 'prlctl.md 2.4' json "$prlctl" list -a --json
  run 'prlctl.md 2.4' json "$prlctl" list -a -t --json
  run 'prlctl.md 11.12' json "$prlctl" list -a -i --json
  run 'prlctl.md 1.2' help "$prlctl" list -L
  run 'prlctl.md 5' json "$prlctl" list 00000000-0000-4000-8000-000000000000 -i --json
  [ ! "$list" ] || vms=ID
  for vm in $vms; do
    run 'prlctl.md 2.1' json "$prlctl" list "$vm" -i --json
    run 'prlctl.md 1.2' text "$prlctl" status "$vm"
    run 'prlctl.md 10' json "$prlctl" snapshot-list "$vm" --json
  done
}

bundles() {
  begin_step bundles '1 minute' 'config.pvs and VmInfo.pvi of each virtual machine, never its disks; names, paths, ids and all free text are replaced' || return 0
  if [ "$list" ]; then
    say '    read …/NAME.pvm/config.pvs'
    say '    read …/NAME.pvm/VmInfo.pvi'
    return
  fi
  while IFS= read -r home <&4; do
    home=${home%/}
    file 'prlctl.md 11.7' xml "$home/config.pvs"
    file 'captures.md 2' xml "$home/VmInfo.pvi"
    if [ -e "$work/before" ] && ! links "$home/config.pvs"; then
      run 'prlctl.md 11.12' text find "$root$home/config.pvs" -newer "$work/before"
    fi
  done 4<"$work/homes"
}

mac() {
  begin_step mac '1 minute' 'processes, service and network interfaces of Parallels Desktop, and its preferences without their values' || return 0
  processes
  run 'macos.md 15.1' job "$launchctl" print system/com.parallels.desktop.launchdaemon
  run 'macos.md 15.8' help ifconfig -l
  run 'macos.md 15.6' text ls -ldn "$root/Users/$account/Parallels" "$root/Users/$account/Library/Preferences/com.parallels.Parallels Desktop.plist" "$root/Library/Preferences/Parallels" "$root/Library/Preferences/Parallels/licenses.json"
  run 'macos.md 15.13' text ls -ldn "$root/Library/Managed Preferences" "$root/Library/Managed Preferences/com.parallels.desktop.managedprefs.plist"
  run 'macos.md 15.11' text ls -ldn "$root/" "$root/Library" "$root/Library/Application Support" "$root/Library/LaunchDaemons" "$root/Library/Logs" "$root/Applications" "$root/private/var/run"
  run 'acting.md 2' xml defaults export 'com.parallels.Parallels Desktop' -
  run 'acting.md 2' xml defaults export com.parallels.desktop.managedprefs -
}

# processes keeps those of Parallels Desktop only.
processes() {
  # shellcheck disable=SC2016 # the inner shell's variable
  run 'captures.md 4.3' processes sh -c 'LC_ALL=en_US.UTF-8 ps -axww -o pid= -o ppid= -o uid= -o command= | grep -F "$0" | grep -v "grep -F"' "$bin"
}

listen() {
  begin_step events '3 minutes' 'what Parallels Desktop tells while you start and stop a virtual machine' || return 0
  if [ "$list" ]; then
    say '    prlctl monitor-events --json   while you start and stop a virtual machine'
    return
  fi
  next_slot
  kept=$detach detach='' heard=$number
  # The tool writes at once only to a terminal: script(1) gives it one.
  if [ "$(uname)" = Darwin ]; then
    begin "$heard" script -q /dev/null "$prlctl" monitor-events --json
  else
    begin "$heard" script -q -c "exec '$(printf '%s' "$prlctl" | sed "s/'/'\\\\''/g")' monitor-events --json" /dev/null
  fi
  detach=$kept begun=$started
  rest 1
  wait_for 'Please start a virtual machine in Parallels Desktop, and wait until you see its desktop.'
  run 'captures.md 2' json "$prlctl" list -a -i --json
  processes
  wait_for 'Please suspend it or shut it down, and wait until it has.'
  rest 1
  started=$begun detach=''
  finish "$heard" 0
  detach=$kept
  [ "$ended" != killed ] || ended=stopped
  keep 'prlctl.md 11.5' json "$heard" "$prlctl" monitor-events --json
}

# as_others needs an administrator: the same list in other ways, and what root
# may read. It runs nothing but these.
as_others() {
  [ "$administrator" ] || return 0
  begin_step sudo '1 minute' 'the list as a root service would ask for it; needs an administrator'"'"'s password' || return 0
  uid=$(id -u)
  become_root
  run 'prlctl.md 11.4' json "$sudo" -n "$prlctl" list -a --json
  run 'prlctl.md 11.4' json "$sudo" -n -H -u "$account" "$prlctl" list -a --json
  run 'prlctl.md 11.4' json "$sudo" -n "$launchctl" asuser "$uid" "$sudo" -n -H -u "$account" "$prlctl" list -a --json
  run 'macos.md 15.3' text "$sudo" -n "$launchctl" asuser 248 /usr/bin/true
  run 'macos.md 15.6' text "$sudo" -n /bin/ls -ldn "/Users/$account/Parallels" "/Users/$account/Library/Preferences/com.parallels.Parallels Desktop.plist"
  detach=$kept
}

# become_root asks for the password once, so that the commands need none. Each has its
# path: sudo may search in the person's PATH, where others than root can put programs.
become_root() {
  kept=$detach
  [ "$detach" != yes ] || detach=timed
  [ ! "$list" ] || return 0
  became=yes
  [ "$root" ] || "$sudo" -v
}

# wanted tells whether an option asks for a step.
wanted() { # VALUE OPTION STEP
  [ "$1" ] && return 0
  [ ! "$list" ] || { say ''; say "$3: only with $2"; }
  return 1
}

# confirm notes what a person has seen, if there is one.
confirm() { # QUESTION OF THE FACTS, WHAT
  [ "$persons" ] && [ ! "$list" ] || return 0
  printf '  %s [y]es, [n]o, [d]o not know: ' "$2"
  read -r answer || answer=d
  next_slot
  case $answer in y | Y | yes) said=yes ;; n | N | no) said=no ;; *) said=unknown ;; esac
  fill_slot "$number" "$said"
  keep "$1" words "$number" asked "$2"
}

# readable tries to open a folder or a file, and shows nothing of what is in it.
readable() { # SUDO-OR-NOTHING PATH
  # shellcheck disable=SC2016 # the inner shell's variable
  if [ "$1" ]; then run 'macos.md 15.6' words "$sudo" -n /bin/sh -c '/bin/ls -A "$0" >/dev/null' "$2"
  else run 'macos.md 15.6' words sh -c 'ls -A "$0" >/dev/null' "$2"; fi
}

# places are what a root service has to read, and what macOS guards, one a line.
places() {
  for place in Documents Desktop Downloads Parallels 'Library/Preferences/com.parallels.Parallels Desktop.plist'; do
    printf '%s\n' "/Users/$account/$place"
  done
  printf '%s\n' /Library/Preferences/Parallels
  [ "$list" ] || head -n 8 "$work/homes"
}

# unbroken runs what must not stop in the middle of its work, for ten minutes at most.
unbroken() {
  saved=$limit limit=600 steady=yes
  [ "$list" ] || begun_changes="$begun_changes $step"
  run "$@"
  limit=$saved steady=''
}

install_package() {
  wanted "$package" '--install FILE' install || return 0
  begin_step install '2 minutes' "CHANGE: installs the package $package, which loads the agent; macOS may ask Apple about it, and the agent checks in with its portal if a profile names one; needs an administrator's password" || return 0
  run 'macos.md 15.9' words "$root/usr/sbin/pkgutil" --check-signature "$package"
  run 'macos.md 15.9' words "$root/usr/sbin/spctl" -a -vv -t install "$package"
  become_root
  unbroken 'macos.md 15.9' words "$sudo" -n "$root/usr/sbin/installer" -verbose -pkg "$package" -target /
  detach=$kept
  confirm 'macos.md 7' 'Did macOS say that a background item was added?'
}

# installed reads what an installation has left, whoever made it.
installed() {
  begin_step package '1 minute' 'what an installation of our agent has left, if there is one: receipt, modes, signature, job, lines of the log' || return 0
  run 'macos.md 13.3' words "$root/usr/sbin/pkgutil" --pkg-info "$agent"
  run 'macos.md 13.3' words "$root/usr/sbin/pkgutil" --files "$agent"
  run 'macos.md 13.3' text ls -ldn "$support" "$support/bin" "$support/bin/prlagentd" "$support/bin/prlagent" "$support/state" "$support/logs" \
    "$support/status.plist" "$support/inventory.plist" "$root/Library/LaunchDaemons/$agent.plist" "$root/usr/local/bin/prlagent"
  run 'acting.md 4' words codesign -d -v -r - "$support/bin/prlagentd"
  # The package's scripts go by what pwd says of folders that macOS has behind firmlinks.
  # shellcheck disable=SC2016 # the inner shell's variables
  run 'acting.md 4' words sh -c 'for folder; do cd -P "$folder" && /bin/pwd -P; done' sh "$root/Library/Application Support" "$root/usr/local"
  file 'macos.md 1.3' shape "/Library/LaunchDaemons/$agent.plist"
  run 'macos.md 15.10' job "$launchctl" print "system/$agent"
  # shellcheck disable=SC2016 # the inner shell's variables
  run 'macos.md 15.10' words sh -c '"$0" print-disabled system | grep -e org.prlagent -e "^[^\"]*$"' "$launchctl"
  # The name of the Mac is the third word of a line.
  # shellcheck disable=SC2016 # the inner shell's variables
  run 'macos.md 13.3' words sh -c 'grep -i prlagent "$0" | sed -n "s/^\([0-9-]* [0-9:+-]*\) [^ ]* /\1 /p" | tail -n 200' "$root/var/log/install.log"
  # shellcheck disable=SC2016 # the inner shell's variables
  run 'macos.md 15.10' words sh -c 'ps -A -ww -o rss= -o time= -o etime= -o args= | grep -F "$0" | grep -v "grep -F"' "$support/bin/prlagentd"
  run 'macos.md 13.4' words "$support/bin/prlagent" get health
  run 'macos.md 13.4' codes "$support/bin/prlagent" doctor --offline --json
}

profiles() {
  begin_step profiles '1 minute' 'whether the Mac is managed, and of our settings and those of Parallels Desktop which keys there are: no values' || return 0
  run 'macos.md 8' words "$root/usr/bin/profiles" status -type enrollment
  for folder_ in '/Library/Managed Preferences' "/Library/Managed Preferences/$account"; do
    run 'macos.md 15.13' text ls -ldn "$root$folder_" "$root$folder_/$agent.plist" "$root$folder_/com.parallels.desktop.managedprefs.plist"
    shape_of "$folder_/$agent.plist"
    shape_of "$folder_/com.parallels.desktop.managedprefs.plist"
  done
}

# shape_of keeps which keys a property list has. It may be binary.
shape_of() {
  if links "$1"; then return; fi
  run 'macos.md 15.13' shape "$root/usr/bin/plutil" -convert xml1 -o - "$root$1"
}

privacy() {
  begin_step privacy '1 minute' 'whether Terminal may open the folders that macOS guards; macOS may ask you, and nothing of what is in them is kept' || return 0
  each_place ''
}

each_place() { # SUDO-OR-NOTHING
  if [ "$list" ]; then
    readable "$1" PLACE
    return
  fi
  places >"$work/places"
  while IFS= read -r place <&5; do
    links "$place" || readable "$1" "$root$place"
  done 5<"$work/places"
}

sockets() {
  begin_step socket '1 minute' 'the folder of sockets, and what a socket of our own tells of who is at its other end' || return 0
  run 'macos.md 14' text ls -ldn "$root/var" "$root/private/var/run" "$root/var/run" "$root/var/run/prlagent.sock"
  run 'macos.md 14' words /usr/bin/perl "${work:-…}/peer" "${work:-…}/socket"
}

notifications() {
  begin_step notification '1 minute' 'whether swiftDialog is there, and who owns it' || return 0
  run 'macos.md 13.4' text ls -ldn "$dialog" "$dialog/Contents/MacOS/Dialog" "$root/usr/local/bin/dialog"
  run 'macos.md 13.4' words "$root/usr/bin/plutil" -extract CFBundleShortVersionString raw -o - "$dialog/Contents/Info.plist"
}

notify_person() {
  wanted "$notify" --notify notify || return 0
  begin_step notify '1 minute' 'CHANGE: shows a notification, in up to four ways; macOS may list Script Editor and Dialog in its settings for notifications' || return 0
  show_notification 'from Terminal'
  [ "$administrator" ] || return 0
  become_root
  show_notification 'from a service' "$sudo" -n "$launchctl" asuser "$(id -u)" "$sudo" -n -H -u "$account"
  detach=$kept
}

show_notification() { # WHENCE COMMAND…
  whence=$1
  shift
  run 'acting.md 4' words "$@" "$root/usr/bin/osascript" -e 'on run argv' -e 'display notification (item 1 of argv) with title "first-mac"' -e 'end run' 'Do you see this?'
  confirm 'acting.md 4' "Did you see a notification of first-mac $whence?"
  if [ "$list" ] || [ -x "$dialog/Contents/MacOS/Dialog" ]; then
    run 'acting.md 4' words "$@" "$dialog/Contents/MacOS/Dialog" --notification --title first-mac --message 'Do you see this?'
    confirm 'acting.md 4' "Did you see a notification of Dialog $whence?"
  fi
}

# as_user looks at how a root service starts a program as a user.
as_user() {
  [ "$administrator" ] || return 0
  begin_step user '1 minute' 'in which surroundings a root service starts a program as you, and how long that takes; needs an administrator'"'"'s password' || return 0
  uid=$(id -u)
  become_root
  run 'macos.md 7.1' variables "$sudo" -n -H -u "#$uid" /usr/bin/env
  run 'macos.md 7.1' variables "$sudo" -n "$launchctl" asuser "$uid" "$sudo" -n -H -u "#$uid" /usr/bin/env
  for way in 1 2 3; do run 'macos.md 7.1' words "$sudo" -n -H -u "#$uid" /usr/bin/true; done
  # shellcheck disable=SC2034 # it counts
  for way in 1 2 3; do run 'macos.md 7.1' words "$sudo" -n "$launchctl" asuser "$uid" "$sudo" -n -H -u "#$uid" /usr/bin/true; done
  run 'macos.md 7.1' words "$sudo" -n -H -u "#$uid" "$launchctl" managername
  run 'macos.md 7.1' words "$sudo" -n "$launchctl" asuser "$uid" "$sudo" -n -H -u "#$uid" "$launchctl" managername
  run 'macos.md 14' words /usr/bin/perl "${work:-…}/peer" "${work:-…}/socket" "$sudo" -n
  detach=$kept
}

# as_root looks at what root may read that was started in Terminal.
as_root() {
  [ "$administrator" ] || return 0
  begin_step root '1 minute' 'what root may open that was started in Terminal, and which keys the profiles of this Mac have: no values; needs an administrator'"'"'s password' || return 0
  become_root
  each_place yes
  run 'macos.md 8' shape "$sudo" -n "$root/usr/bin/profiles" show -type configuration -output stdout-xml
  detach=$kept
}

# ---- The job of --job --------------------------------------------------------

# write_trial writes the job, and what it runs: it looks which folders a service
# of the system can open, and takes two seconds to end.
write_trial() {
  where=$(printf '%s' "$trialdir" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g')
  cat >"$work/trial.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>$trial</string>
<key>ProgramArguments</key><array><string>/bin/sh</string><string>$where/run</string></array>
<key>RunAtLoad</key><true/><key>KeepAlive</key><true/>
<key>ExitTimeOut</key><integer>10</integer>
</dict></plist>
PLIST
  cat >"$work/trial.run" <<'RUN'
#!/bin/sh
folder=${0%/*}
trap 'sleep 2; exit 0' TERM
env >"$folder/variables"
while IFS= read -r place; do
  if said=$(ls -A "$place" 2>&1 >/dev/null); then said=read; fi
  printf '%s\n' "${said##*: }"
done <"$folder/places" >"$folder/answers"
: >"$folder/ready"
while :; do sleep 1; done
RUN
  cat >"$work/await" <<'AWAIT'
tries=0
while [ $tries -lt 150 ]; do
  if "$1" print "system/$2" >/dev/null 2>&1; then now=known; else now=gone; fi
  [ $now != "$3" ] || exit 0
  tries=$((tries + 1))
  sleep 0.2 2>/dev/null || sleep 1
done
exit 1
AWAIT
  places | while IFS= read -r place; do links "$place" || printf '%s\n' "$root$place"; done >"$work/places"
}

# place_trial puts both where only root can write, and fails if anything is there.
place_trial() {
  for there in "$root$trialfile" "$trialdir"; do
    if [ -e "$there" ] || [ -h "$there" ]; then return 1; fi
  done
  placed=yes
  "$sudo" -n /bin/mkdir -m 0700 "$trialdir" &&
    "$sudo" -n /usr/bin/install -m 0600 "$work/trial.run" "$trialdir/run" &&
    "$sudo" -n /usr/bin/install -m 0600 "$work/places" "$trialdir/places" &&
    "$sudo" -n /usr/bin/install -m 0644 "$work/trial.plist" "$root$trialfile"
}

# trial_is waits half a minute until launchd knows the job, or does not.
trial_is() { run 'acting.md 3' words /bin/sh "${work:-…}/await" "$launchctl" "$trial" "$1"; } # known or gone

# tell is one order to launchd.
tell() { # VERB WORD…
  run 'acting.md 3' words "$sudo" -n "$launchctl" "$@"
}

shown() { run 'acting.md 3' job "$launchctl" print "system/$trial"; }

try_job() {
  wanted "$probe" --job job || return 0
  begin_step job '1 minute' "CHANGE: loads a job of launchd named $trial for about a minute, which opens the same folders as above, and removes it. launchd keeps one line: that the name is enabled. Needs an administrator's password" || return 0
  become_root
  if [ ! "$list" ]; then
    write_trial
    if ! place_trial; then
      say '  left out: it cannot be put in its place, or something is there already'
      skipped="$skipped,\"job\""
      remove_trial
      detach=$kept
      return 0
    fi
  fi
  shown
  tell bootout "system/$trial"
  tell bootstrap system "${work:-…}/trial.plist" # others than root can change it
  tell bootout "system/$trial"
  trial_is gone
  tell bootstrap system "/Library/LaunchDaemons/$trial.missing.plist"
  tell bootstrap "gui/248" "$trialfile"
  tell bootstrap system "$trialfile"
  trial_is known
  read_trial
  tell bootstrap system "$trialfile"
  tell kickstart "system/$trial"
  shown
  tell kickstart -k "system/$trial"
  shown
  tell disable "system/$trial"
  shown
  tell bootout "system/$trial"
  tell bootstrap system "$trialfile"
  shown
  trial_is gone
  tell bootout "system/$trial"
  tell kickstart "system/$trial"
  tell bootstrap system "$trialfile"
  # shellcheck disable=SC2016 # the inner shell's variables
  run 'macos.md 15.10' words sh -c '"$0" print-disabled system | grep -e org.prlagent -e "^[^\"]*$"' "$launchctl"
  tell enable "system/$trial"
  tell bootstrap system "$trialfile"
  trial_is known
  tell bootout "system/$trial"
  tell bootstrap system "$trialfile"
  trial_is gone
  [ "$list" ] || remove_trial
  detach=$kept
  confirm 'macos.md 7' 'Did macOS say that a background item was added?'
}

# read_trial keeps what the job has found.
read_trial() {
  # shellcheck disable=SC2016 # the inner shell's variables
  run 'macos.md 15.6' words "$sudo" -n /bin/sh -c 'i=0; while [ ! -e "$0/ready" ] && [ $i -lt 50 ]; do i=$((i + 1)); /bin/sleep 0.2 2>/dev/null || /bin/sleep 1; done; /bin/cat "$0/answers"' "$trialdir"
  run 'macos.md 1.3' variables "$sudo" -n /bin/cat "$trialdir/variables"
}

# remove_trial takes the job away. Until it has, no signal ends it, or what it starts.
remove_trial() {
  [ "$placed" ] || return 0
  say '  Taking the job away again …'
  # shellcheck disable=SC2086 # several signals
  (trap '' $signals; take_trial_away)
  placed=''
}

# bounded is a command for the script itself, which sets its exit code.
bounded() { # COMMAND…
  begin last "$@"
  finish last 10
}

is_known() { bounded "$launchctl" print "system/$trial"; [ "$code" = 0 ]; }

take_trial_away() {
  steady=yes tries=0
  bounded "$sudo" -n /usr/bin/true
  [ "$code" = 0 ] || tries=40 # no order would be obeyed
  while [ "$tries" -lt 40 ]; do
    # Again now and then: a bootstrap may have been under way.
    [ $((tries % 10)) != 0 ] || bounded "$sudo" -n "$launchctl" bootout "system/$trial"
    is_known || break
    rest 0.5
    tries=$((tries + 1))
  done
  left=''
  ! is_known || left="$left
    sudo launchctl bootout system/$trial"
  bounded "$sudo" -n "$launchctl" enable "system/$trial"
  [ "$code" = 0 ] || left="$left
    sudo launchctl enable system/$trial"
  bounded "$sudo" -n /bin/rm -f "$root$trialfile"
  [ ! -e "$root$trialfile" ] || left="$left
    sudo rm -f '$root$trialfile'"
  bounded "$sudo" -n /bin/rm -rf "$trialdir"
  [ ! -e "$trialdir" ] || left="$left
    sudo rm -rf '$trialdir'"
  [ ! "$left" ] || say "  This is left, and could not be taken away. Please run:$left"
}

remove_package() {
  wanted "$removal" '--uninstall FILE' uninstall || return 0
  begin_step uninstall '1 minute' "CHANGE: runs the uninstall script $removal; needs an administrator's password" || return 0
  become_root
  unbroken 'macos.md 13.3' words "$sudo" -n /bin/sh "$removal"
  detach=$kept
  run 'macos.md 13.3' words "$root/usr/sbin/pkgutil" --pkg-info "$agent"
  run 'acting.md 3' job "$launchctl" print "system/$agent"
  run 'macos.md 13.3' text ls -ldn "$support" "$support/bin" "$root/Library/LaunchDaemons/$agent.plist" "$root/usr/local/bin/prlagent" "$root/var/run/prlagent.sock"
}

steps() {
  versions; help_texts; license; lists; bundles; mac; listen
  install_package; installed; profiles; privacy; sockets; notifications; notify_person
  as_others; as_user; as_root; try_job; remove_package
}

# ---- Names that must not leave this Mac -------------------------------------

# answer prints what a command says, for the script itself.
answer() { # COMMAND…
  begin names "$@"
  finish names "$limit"
  tr -d '\000' <"$work/names.out"
}

learn_names() {
  : >"$work/map"
  answer "$prlctl" list -a -i --json >"$work/list"
  answer "$prlctl" list -a --json >"$work/short"
  program -v task=values sought=Name "$work/list" sought=Home "$work/list" sought=name "$work/short" sought=uuid "$work/short" >"$work/values"
  vms=$(only uuid <"$work/values" | tr 'A-F' 'a-f' | grep -xE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | sort -u)
  for vm in $vms; do answer "$prlctl" list "$vm" -i --json >"$work/$vm.json"; done
  [ ! "$vms" ] || program -v task=values -v sought=Home "$work"/*-*.json >>"$work/values"
  only Home <"$work/values" | grep '^/' | sort -u >"$work/homes"
  {
    for name in "$account" "$(id -un)" "${LOGNAME:-}" "${HOME##*/}"; do printf '%s\n' "$name"; done | grep -v -x -e root -e '' | named user
    answer "$root/usr/bin/dscl" -plist . -readall /Users RecordName RealName | people
    named user <"$work/accounts"
    named person <"$work/persons"
    for name in ComputerName LocalHostName HostName; do answer "$root/usr/sbin/scutil" --get "$name"; done | named computer
    { hostname; hostname | sed 's/[.].*//'; } 2>/dev/null | grep -v -x -e localhost -e '' | named computer
    device=$(answer "$root/usr/sbin/ioreg" -a -r -d1 -c IOPlatformExpertDevice | tr -d '\n\t')
    printf '%s\n' "$device" | sed -n 's/.*<key>IOPlatformSerialNumber<\/key> *<string>\([^<]*\)<.*/\1/p' | named serial
    for name in Name name; do only "$name" <"$work/values"; done | named vm
    sed -n 's/\/*$//; s/.*\/\([^/]*\)[.][a-z]*$/\1/p' "$work/homes" | named vm
    sed 's/\/*$//; s/\/*[^/]*$//' "$work/homes" | grep -v -e '^$' -e '^/Users/' -e '^/Volumes/' | sort -u | named place
  } >"$work/learned"
  program -v task=learn "$work/learned"
}

# people takes the accounts of persons from a property list of dscl.
people() {
  : >"$work/accounts"
  : >"$work/persons"
  tr '\t' ' ' | sed 's/&apos;/'"'"'/g; s/&#39;/'"'"'/g; s/&quot;/"/g; s/&#34;/"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g' |
    awk -v accounts="$work/accounts" -v persons="$work/persons" '
      /<dict>/ { name = ""; full = "" }
      /<key>/ { key = $0 }
      /<string>/ {
        text = $0; sub(/.*<string>/, "", text); sub(/<\/string>.*/, "", text)
        if (key ~ /RecordName/ && name == "") name = text
        if (key ~ /RealName/ && full == "") full = text
      }
      /<\/dict>/ {
        if (name != "" && name !~ /^(_|root$|daemon$|nobody$)/) { print name >> accounts; if (full != "") print full >> persons }
      }'
}

# ---- The archive ------------------------------------------------------------

# withhold takes out whatever still has a name in it.
withhold() {
  withheld=''
  [ -s "$work/entries" ] || return 0
  program -v task=check "$folder"/*.out "$folder"/*.err >"$work/withheld"
  while IFS= read -r kept; do
    withheld="$withheld,\"${kept##*/}\""
    : >"$kept"
  done <"$work/withheld"
}

write_manifest() {
  {
    printf '{"format":1,"written":"%s","system":"%s","simulated":%s,"skipped":[%s],"withheld":[%s],"entries":[\n' \
      "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(uname)" "$([ "$root" ] && echo true || echo false)" "${skipped#,}" "${withheld#,}"
    sed '$!s/$/,/' "$work/entries"
    printf ']}\n'
  } >"$folder/manifest.json"
  [ ! "$(program -v task=check "$folder/manifest.json")" ] || fail 'a name is left in the manifest; nothing was kept. Please tell us.'
}

# check_program ends everything if names cannot be replaced.
check_program() {
  if [ -e "$work/broken" ] || [ ! -s "$work/map" ]; then fail 'names cannot be replaced on this Mac; nothing was kept. Please tell us.'; fi
}

write_archive() {
  settle
  withhold
  write_manifest
  check_program
  { tar --format=ustar --numeric-owner -C "$work" -cf - first-mac && : >"$work/packed"; } | gzip -9n >"$work/archive"
  if [ ! -e "$work/packed" ] || [ ! -s "$work/archive" ]; then fail 'the archive cannot be made'; fi
  # All of it or nothing, whatever signals come.
  # shellcheck disable=SC2086,SC2094 # several signals; it is removed where it cannot be written
  (trap '' $signals; set -C; { cat "$work/archive" && : >"$work/written" || { rm -f "$output"; false; }; } >"$output") 2>/dev/null ||
    fail "$output cannot be written, or is there already"
}

# end_tools ends what still runs, and waits for what must not be ended.
end_tools() {
  for slot in "$work"/*.pid; do
    slot=${slot%.pid}
    if [ ! -e "$slot.pid" ] || [ -s "$slot.done" ]; then continue
    elif [ -s "$slot.steady" ]; then await_tool "$slot"
    else end_tool "$slot"; fi
  done
}

end_tool() { # SLOT
  tries=0
  while [ ! -s "$1.done" ] && [ "$tries" -lt 50 ]; do
    if [ -s "$1.pid" ]; then
      doomed=$(tree "$(cat "$1.pid")")
      [ "$doomed" ] || break
      # shellcheck disable=SC2086 # one word for each process
      signal KILL $doomed
    elif [ "$tries" -gt 10 ]; then break # it was ended before it began
    fi
    rest 0.1
    tries=$((tries + 1))
  done
}

await_tool() { # SLOT
  say "  Waiting until it has ended what it is doing, so that nothing is left half done …"
  tries=0
  while [ ! -s "$1.done" ] && [ "$tries" -lt "$((patience * 10))" ]; do
    rest 0.1
    tries=$((tries + 1))
  done
  [ -s "$1.done" ] || say "  It is still at work and goes on: process $(cat "$1.pid")."
}

clean_up() {
  # shellcheck disable=SC2086 # several signals; whoever is started from here on ignores them too
  trap '' $signals
  trap - EXIT
  [ "$work" ] || return 0
  end_tools
  remove_trial
  for change in $begun_changes; do
    [ -e "$work/written" ] || say "What the step $change has changed on this Mac stays."
  done
  rm -rf "$work" 2>/dev/null || rm -rf "$work" # what goes on may have written there meanwhile
}

interrupted() {
  # shellcheck disable=SC2086 # several signals
  trap '' $signals
  exec >&7 # it may have come where an output goes elsewhere
  told='nothing was kept.'
  [ ! -e "$work/written" ] || told="the answers are in $output"
  say ''
  clean_up
  say "Interrupted: $told"
  exit 130
}

introduce() {
  cat <<'TEXT'
This asks your Mac how Parallels Desktop behaves, for an open project that has no Mac.

It reads: versions, help texts, the state of the license, the settings of your virtual
machines, two small files of each (config.pvs, VmInfo.pvi), processes of Parallels Desktop.
It never reads: disks, documents, passwords. It changes nothing: it starts, stops and
sets nothing by itself, and follows no links. Steps that do more than read are called
CHANGE, are there only with their option, and are asked for like all others.
Names of people, machines and files, paths, ids, addresses, serial numbers and license keys
are replaced by placeholders such as VM-1.
The script sends nothing: you get one archive, look at it, and send it or not. With
--install, macOS may ask Apple about the package, and the installed agent checks in with
the portal that a profile names; without such a profile it has none.
It takes about 15 minutes. Ctrl-C ends it and leaves nothing behind but what a package or
an uninstall script has done, if you agreed to it.
TEXT
}

persons=''
[ "$all" ] || persons=yes
introduce
if [ "$list" ]; then
  steps
  exit 0
fi
[ "$(id -u)" != 0 ] || [ "$root" ] || wrong 'run it as yourself, without sudo: root has other virtual machines'
[ -x "$prlctl" ] || fail "there is no Parallels Desktop at $app"
[ "$output" ] || output="first-mac-$(date +%Y%m%d-%H%M%S).tar.gz"
if [ -e "$output" ] || [ -h "$output" ]; then fail "$output is there already"; fi
case $output in */*) place=${output%/*}/ ;; *) place=. ;; esac
if [ ! -d "$place" ] || [ ! -w "$place" ]; then fail "$output cannot be written: its folder is not there, or is not yours"; fi

patience=$limit # with what must not be ended
exec 7>&1
trap clean_up EXIT
# shellcheck disable=SC2086 # several signals
trap interrupted $signals
# shellcheck disable=SC2086 # several signals
work=$(trap '' $signals; mktemp -d "${TMPDIR:-/tmp}/first-mac.XXXXXX") || fail 'cannot make a folder for temporary files'
folder="$work/first-mac"
mkdir "$folder"
: >"$work/entries"
if perl -MTime::HiRes -MPOSIX -e 1 2>/dev/null; then detach=yes; fi
write_program
write_peer
say ''
say 'Reading names, to be able to replace them …'
learn_names
check_program
steps
write_archive
say ''
say "The answers are in $output"
say "Look at them (tar -xzf), then send the file as first-mac.md says. The script has sent nothing."
