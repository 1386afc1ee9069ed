package cmd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"prlagent/cmd/prlportal/pkg"
	"prlagent/store/storetest"
)

// packageVersions are the versions of the agent that scripts install. Both are built
// from this tree.
var packageVersions = []string{"1.1.0", "1.2.0"}

// madePackages is a folder with the packages of all versions, their tars and uninstall
// scripts, and in allowed those that replace a newer version. Their programs are this
// machine's: a simulated Mac runs them. That a package for Macs has programs for Macs is
// tested where packages are made.
var madePackages = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "prlpkg")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	programFolders.Lock()
	programFolders.names = append(programFolders.names, folder)
	programFolders.Unlock()
	for _, version := range packageVersions {
		programs, err := programsOf(folder, version)
		if err != nil {
			return "", err
		}
		if err := packPrograms(folder, pkg.Options{Version: version}, programs); err != nil {
			return "", err
		}
		if version == packageVersions[0] {
			err = packPrograms(filepath.Join(folder, "allowed"), pkg.Options{Version: version, AllowDowngradeTo: version}, programs)
		}
		if err != nil {
			return "", err
		}
	}
	return folder, nil
})

// programsOf builds the programs that a package installs.
func programsOf(folder, version string) (map[string][]byte, error) {
	built := filepath.Join(folder, version)
	if err := buildVersion(built, runtime.GOOS+"/"+runtime.GOARCH, version, "prlagentd", "prlagent"); err != nil {
		return nil, err
	}
	programs := map[string][]byte{}
	for _, name := range []string{"prlagentd", "prlagent"} {
		program, err := os.ReadFile(filepath.Join(built, name))
		if err != nil {
			return nil, fmt.Errorf("read program: %w", err)
		}
		programs[name] = program
	}
	return programs, os.RemoveAll(built)
}

func packPrograms(folder string, options pkg.Options, programs map[string][]byte) error {
	files, err := options.Pack(programs, time.Unix(1_790_000_000, 0))
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	for _, file := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, file.Name), file.Data, file.Mode))
	}
	return err
}

// givePackages links the packages into the script's folder packages.
func givePackages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: packages")
	}
	made, err := madePackages()
	ts.Check(err)
	ts.Check(filepath.WalkDir(made, func(file string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(made, file)
		given := filepath.Join(ts.Getenv("WORK"), "packages", name)
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.MkdirAll(given, 0o755)
		}
		return os.Link(file, given)
	}))
}

// changeStoreFormat makes a state database one of another format of records: what a
// newer version leaves.
func changeStoreFormat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || len(args[1]) != 1 {
		ts.Fatalf("usage: store-format FILE DIGIT")
	}
	file := ts.MkAbs(args[0])
	content, err := os.ReadFile(file)
	ts.Check(err)
	content, err = storetest.OfFormat(content, args[1][0])
	ts.Check(err)
	ts.Check(os.WriteFile(file, content, 0o600))
}
