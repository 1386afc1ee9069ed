package platform

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"prlagent/platform/tool"
)

const (
	codesignLine = `/usr/bin/codesign --verify -R=anchor apple generic` +
		` and certificate 1[field.1.2.840.113635.100.6.2.6] exists and certificate leaf[field.1.2.840.113635.100.6.1.13] exists` +
		` and certificate leaf[subject.OU] = "4C6364ACXT" ` + prlctlPath
	applicationLine = `/usr/bin/codesign --verify --ignore-resources -R=identifier "com.parallels.desktop.console" and anchor apple generic` +
		` and certificate 1[field.1.2.840.113635.100.6.2.6] exists and certificate leaf[field.1.2.840.113635.100.6.1.13] exists` +
		` and certificate leaf[subject.OU] = "4C6364ACXT" ` + VendorBundle
)

func TestH10_GoodSignatureIsAskedForOncePerFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place(t, root, prlctlPath, "program")
	runner := &fakeRunner{answers: map[string]answer{codesignLine: {}, applicationLine: {}}}
	machine := New(root, runner)
	requireTrusted := func(runs int) {
		t.Helper()
		if err := machine.Trusted(t.Context(), prlctlPath); err != nil {
			t.Fatal(err)
		}
		if got := runner.timesAbout(prlctlPath); got != runs {
			t.Errorf("codesign ran %d times, want %d", got, runs)
		}
	}
	requireTrusted(1)
	requireTrusted(1)

	place(t, root, prlctlPath, "another program")
	requireTrusted(2)
	requireTrusted(2)

	onDisk := filepath.Join(root, prlctlPath)
	place(t, root, prlctlPath+".new", "another program")
	if err := os.Rename(onDisk+".new", onDisk); err != nil {
		t.Fatal(err)
	}
	requireTrusted(3)

	forgeContent(t, onDisk, "another PROGRAM")
	requireTrusted(4)
}

// forgeContent changes a file but neither its size nor its modification time.
// The kernel's clock for files is coarse, so it writes until that has moved on.
func forgeContent(t *testing.T, path, content string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var before, after unix.Stat_t
	errorsAreFatal(t, unix.Lstat(path, &before))
	for after = before; after.Ctim == before.Ctim; {
		errorsAreFatal(t,
			os.WriteFile(path, []byte(content), 0o644),
			os.Chtimes(path, info.ModTime(), info.ModTime()),
			unix.Lstat(path, &after))
	}
	if after.Size != before.Size || after.Mtim != before.Mtim || after.Ino != before.Ino {
		t.Fatalf("the file shows its change: %+v, %+v", before, after)
	}
}

func TestH10_WhatIsNotTrusted(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	cases := map[string]struct {
		prepare func(t *testing.T, path string)
		reply   answer
		code    string
	}{
		"another signature": {reply: answer{exit: 3}, code: CodeToolsUntrusted},
		"no signature":      {reply: answer{exit: 1}, code: CodeToolsUntrusted},
		"missing": {
			prepare: func(t *testing.T, path string) { errorsAreFatal(t, os.Remove(path)) },
			code:    tool.CodeMissing,
		},
		"link": {
			prepare: func(t *testing.T, path string) {
				errorsAreFatal(t, os.Rename(path, path+".real"), os.Symlink(path+".real", path))
			},
			code: CodeToolsUntrusted,
		},
		"folder": {
			prepare: func(t *testing.T, path string) { errorsAreFatal(t, os.Remove(path), os.Mkdir(path, 0o755)) },
			code:    CodeToolsUntrusted,
		},
		"codesign can not run": {
			reply: answer{err: &tool.Error{Code: tool.CodeTimeout, Path: "/usr/bin/codesign", Err: broken}},
			code:  tool.CodeTimeout,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			place(t, root, prlctlPath, "program")
			if c.prepare != nil {
				c.prepare(t, filepath.Join(root, prlctlPath))
			}
			machine := New(root, &fakeRunner{answers: map[string]answer{codesignLine: c.reply, applicationLine: {}}})
			for range 2 { // a bad answer is not remembered as a good one
				requireCode(t, machine.Trusted(t.Context(), prlctlPath), c.code)
			}
		})
	}
}

func errorsAreFatal(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// swappingRunner replaces the program while its signature is verified.
type swappingRunner struct {
	Tools
	path string
}

func (r swappingRunner) Run(context.Context, *tool.Command) (tool.Result, error) {
	return tool.Result{}, errors.Join(os.Rename(r.path, r.path+".old"), os.WriteFile(r.path, []byte("evil"), 0o755))
}

func TestH10_ProgramThatChangesDuringTheCheckIsNotTrusted(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	place(t, root, prlctlPath, "program")
	machine := New(root, swappingRunner{path: filepath.Join(root, prlctlPath)})
	requireCode(t, machine.Trusted(t.Context(), prlctlPath), CodeToolsUntrusted)
}
