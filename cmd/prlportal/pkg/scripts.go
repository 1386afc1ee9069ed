package pkg

import (
	_ "embed"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"prlagent/launchd"
)

// The scripts, with names in place of what is known only here. They are for the sh of
// any system, so that they are tried elsewhere than on a Mac.
var (
	//go:embed scripts/preinstall
	preinstallScript string
	//go:embed scripts/postinstall
	postinstallScript string
	//go:embed scripts/uninstall.sh
	uninstallScript string
	// Functions that several of them have.
	//go:embed scripts/is_roots
	isRoots string
	//go:embed scripts/print_remedy
	printRemedy string
	//go:embed scripts/in_folder
	inFolder string
)

// scripts are those of one package, as they are run.
type scripts struct {
	preinstall, postinstall, uninstall []byte
}

// renderScripts puts paths and versions in. Each stands within double quotes or is of a
// form that no shell reads otherwise: a valid version, a number, a word of ours.
func renderScripts(version string, allowDowngrade bool, entries []entry) scripts {
	allowed := "no"
	if allowDowngrade {
		allowed = "yes"
	}
	put := strings.NewReplacer(
		"@IS_ROOTS@\n", isRoots,
		"@PRINT_REMEDY@\n", printRemedy,
		"@IN_FOLDER@\n", inFolder,
		"@VERSION@", version,
		"@STORE_FORMAT@", strconv.Itoa(StoreFormat),
		"@ALLOW_DOWNGRADE@", allowed,
		"@IDENTIFIER@", Identifier,
		"@SUPPORT@", supportFolder,
		"@STATE@", stateFolder,
		"@RELEASE@", releaseFile,
		"@DAEMON@", daemonFile,
		"@CLI@", cliFile,
		"@LINK@", cliLink,
		"@MADE_LINKS@", madeLinks,
		"@JOB@", launchd.PlistPath,
		"@PROGRAM_FOLDER@", programFolder,
		"@PERMISSION@", permissionFile,
		"@SOCKET@", socketFile,
		"@RUNTIME_FILES@", `"$root`+strings.Join(runtimeFiles, `" "$root`)+`"`,
		"@ABOVE@", quotedPaths(entries, func(e entry) bool { return e.shared && e.path != "." }),
		"@PROGRAMS@", quotedPaths(entries, func(e entry) bool { return !e.isFolder() && "/"+path.Dir(e.path) == programFolder }),
		"@FOLDERS@", quotedPaths(entries, func(e entry) bool { return e.isFolder() && !e.shared }),
	)
	return scripts{
		preinstall:  []byte(put.Replace(preinstallScript)),
		postinstall: []byte(put.Replace(postinstallScript)),
		uninstall:   []byte(put.Replace(uninstallScript)),
	}
}

// quotedPaths are the paths of some entries, as words of a script that has a root.
func quotedPaths(entries []entry, wanted func(entry) bool) string {
	var words []string
	for _, e := range entries {
		if wanted(e) {
			words = append(words, `"$root/`+e.path+`"`)
		}
	}
	return strings.Join(words, " ")
}

// entries are the scripts as the package has them.
func (s scripts) entries() []entry {
	return []entry{
		{path: ".", mode: fs.ModeDir | 0o755},
		{path: "postinstall", mode: 0o755, data: s.postinstall},
		{path: "preinstall", mode: 0o755, data: s.preinstall},
	}
}
