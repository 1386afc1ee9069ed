package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"prlagent/platform/plist"
	"prlagent/platform/tool"
)

// defaultsPath is Apple's own way to cfprefsd, which has the truth of a user's
// preferences: the file is written later, and what is written to it by others may
// be overwritten (facts/macos.md 5.1).
const defaultsPath = "/usr/bin/defaults"

// Limits of one call of defaults.
const (
	preferencesLimit   = 15 * time.Second
	maxPreferenceKey   = 512     // bytes
	maxPreferenceValue = 8 << 10 // bytes of the fragment
)

// Preferences is one domain of preferences of one user, as cfprefsd knows it. Who
// uses it gives the Runner of that user (Machine.As).
type Preferences struct {
	runner Runner
	domain string
}

// NewPreferences returns the domain of the user whose programs the runner runs.
func NewPreferences(runner Runner, domain string) Preferences {
	return Preferences{runner: runner, domain: domain}
}

// Export gives the whole domain, as plist.Decode gives a dictionary. A domain that
// there is not is an empty one. Errors are a *tool.Error or a *plist.Error, neither
// with content.
func (p Preferences) Export(ctx context.Context) (map[string]any, error) {
	result, err := p.run(ctx, "export", p.domain, "-")
	switch {
	case err != nil:
		return nil, fmt.Errorf("export preferences: %w", err)
	case result.ExitCode != 0 && bytes.Contains(result.Stderr, []byte("does not exist")):
		return map[string]any{}, nil
	case result.ExitCode != 0:
		return nil, fmt.Errorf("export preferences: %w", exitError(result))
	}
	values, err := plist.DecodeDict(result.Stdout)
	if err != nil {
		return nil, fmt.Errorf("export preferences: %w", err)
	}
	return values, nil
}

// Write writes one key of the domain and no other: a string, a boolean or an
// integer, with that type. The key is one literal name, whatever dots, blanks and
// braces it has (facts/acting.md 2). What the tool says is a hint; Export shows.
func (p Preferences) Write(ctx context.Context, key string, value any) error {
	if err := checkPreferenceKey(key); err != nil {
		return &tool.Error{Code: tool.CodeRefused, Path: defaultsPath, Err: err}
	}
	fragment, err := plist.EncodeFragment(value)
	if err != nil {
		return fmt.Errorf("write preference: %w", err)
	}
	if len(fragment) > maxPreferenceValue {
		return &tool.Error{Code: tool.CodeRefused, Path: defaultsPath, Err: errors.New("the value is too long")}
	}
	result, err := p.run(ctx, "write", p.domain, key, fragment)
	if err == nil && result.ExitCode != 0 {
		err = exitError(result)
	}
	if err != nil {
		return fmt.Errorf("write preference: %w", err)
	}
	return nil
}

func (p Preferences) run(ctx context.Context, args ...string) (tool.Result, error) {
	if strings.HasPrefix(p.domain, "-") || strings.Contains(p.domain, "/") || p.domain == "" {
		return tool.Result{}, &tool.Error{Code: tool.CodeRefused, Path: defaultsPath, Err: errors.New("no name of a domain")}
	}
	return p.runner.Run(ctx, &tool.Command{Path: defaultsPath, Args: args, Limit: preferencesLimit, MaxOutput: plist.MaxSize})
}

// checkPreferenceKey refuses what could be taken for an option, or is no name.
func checkPreferenceKey(key string) error {
	switch {
	case key == "" || len(key) > maxPreferenceKey:
		return errors.New("the key is empty or too long")
	case strings.HasPrefix(key, "-"):
		return errors.New("the key begins with a dash")
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("the key is no text")
	}
	return nil
}

func exitError(result tool.Result) error {
	return &tool.Error{Code: tool.CodeFailed, Path: defaultsPath, Err: fmt.Errorf("exit code %d", result.ExitCode)}
}
