package prlctl

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"

	"prlagent/platform/tool"
)

// Codes of Error. They are stable: people and the portal see them. A failure
// of the runner itself keeps the runner's own code (tool_…).
const (
	CodeServiceDown        = "service_down"        // the dispatcher does not answer
	CodeVMNotFound         = "vm_not_found"        // not in this user's directory
	CodeUnrecognizedOption = "unrecognized_option" // this version or kind of VM lacks the flag
	CodeEdition            = "edition"             // needs Pro, Business or Enterprise
	CodeVMBusy             = "vm_busy"             // another operation runs; try later
	CodeOperationCanceled  = "operation_canceled"  // may have worked all the same: look
	CodeLicenseUnreadable  = "license_unreadable"  // the product cannot read its own license
	CodeNoLicense          = "no_license"          // none is installed
	CodeLicenseExpired     = "license_expired"     // nothing runs until it is renewed
	CodeAdminPassword      = "admin_password_required"
	CodeVMPassword         = "vm_password_required" // the machine is encrypted
	CodeGuestOS            = "guest_os"             // not applicable: this guest has no such setting
	CodeVMConfigInvalid    = "vm_config_invalid"    // the product calls the machine's configuration invalid
	CodeInvalidVMID        = "invalid_vm_id"        // not a UUID
	CodeOutputInvalid      = "output_invalid"       // no JSON, broken JSON, or not the answer asked for
	CodeOutputTooLarge     = "output_too_large"     // more than MaxOutput, or more values than any real answer
	CodeOutputTooDeep      = "output_too_deep"      // JSON nested deeper than any real answer
	CodeToolFailed         = "tool_failed"          // any other failure of the tool
)

// Codes of Unreadable, and of Error where a single object was asked for.
const (
	CodeDuplicateKey = "duplicate_key" // a JSON key twice in one object: two readings (H14)
	CodeDuplicateID  = "duplicate_id"  // two objects in one listing with one ID
	CodeNoID         = "no_id"         // no ID, or an empty one
	CodeWrongType    = "wrong_type"    // not an object, or a field that names the VM is no text
)

// Error is why the tools gave no usable answer.
type Error struct {
	Code     string // one of the Code constants, or the runner's tool_…
	ExitCode int    // of the tool; 0 where it did not fail or did not run
	Text     string // the first line the tool printed, one line of at most 200 characters, may be empty
	Err      error  // the cause, may be nil
}

// Error names the code, the exit code and the tool's first line.
func (e *Error) Error() string {
	text := "prlctl: " + e.Code
	if e.ExitCode != 0 {
		text += fmt.Sprintf(" (exit %d)", e.ExitCode)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// ErrorCode returns the code.
func (e *Error) ErrorCode() string { return e.Code }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// knownText maps what a tool printed, or its exit code, to a code; what to do
// then stands with the code (agent/protocol). Texts are compared without regard
// to case.
type knownText struct {
	code   string
	text   string // part of the output, in lower case; empty: any
	exit   int    // exit code; 0: any
	source string // section of facts/prlctl.md or facts/captures.md
	// notApplicable: nothing failed, what was asked for does not exist for this
	// version or this guest.
	notApplicable bool
	// inPrompt: the text ends a prompt, with a name in front of it that a user
	// chose, which may look like JSON and have several lines.
	inPrompt bool
	// beginsLine: the text counts only where a line begins with it, because much
	// follows from it and a message may quote a name.
	beginsLine bool
}

// knownTexts is read from top to bottom, the first match counts: words say more
// than exit codes, which are SDK results cut to one byte (facts/prlctl.md 5).
// The prompt comes first, because it quotes a name that may hold any other text.
var knownTexts = []knownText{
	{code: CodeVMPassword, text: promptText, source: "captures 4.2", inPrompt: true},
	{code: CodeServiceDown, text: "unable to connect to parallels service", source: "prlctl 5.5"},
	{code: CodeEdition, text: editionText, source: "prlctl 1.1"},
	{code: CodeNoLicense, text: "no licenses installed", source: "captures 4.1"},
	{code: CodeLicenseExpired, text: "was activated for a limited period of time that has now expired", source: "captures 4.2"},
	{code: CodeLicenseUnreadable, text: "prlhandle_fromstring", source: "prlctl 4.2"},
	{code: CodeAdminPassword, text: "you must enter the host os administrator's credentials", source: "captures 4.2"},
	{code: CodeAdminPassword, text: "confirm your administrator credentials", source: "acting 1"},
	{code: CodeUnrecognizedOption, text: "unrecognized option", source: "prlctl 5", notApplicable: true, beginsLine: true},
	{code: CodeGuestOS, text: "is not supported by the guest operating system", source: "captures 4.2", notApplicable: true},
	{code: CodeVMConfigInvalid, text: "the virtual machine configuration is invalid", source: "captures 4.2"},
	{code: CodeVMNotFound, text: "the virtual machine could not be found", source: "prlctl 5"},
	{code: CodeVMNotFound, text: "is not registered in the virtual machine directory", source: "prlctl 5"},
	{code: CodeVMBusy, text: "the virtual machine is busy", source: "prlctl 5, captures 3"},
	{code: CodeVMBusy, text: "data synchronization is currently in progress", source: "prlctl 5"},
	{code: CodeOperationCanceled, text: "operation canceled", source: "prlctl 1.2"},
	{code: CodeServiceDown, exit: 253, source: "prlctl 5.5"},
}

// A prompt has a machine's name between these two; the first begins a line.
const (
	promptStart = "virtual machine '"
	promptText  = "' is encrypted - password required to continue operation"
)

// matches reports whether a tool that ended with this exit code, and said this
// before its JSON, says what the entry is about; output is its standard output
// as a whole. Both are in lower case.
func (k knownText) matches(exit int, said, output []byte) bool {
	if k.exit != 0 && k.exit != exit {
		return false
	}
	switch {
	case k.inPrompt:
		return hasPrompt(said) || hasPrompt(output)
	case k.beginsLine:
		return fromLine(said, k.text) != nil
	}
	return bytes.Contains(said, []byte(k.text))
}

// hasPrompt reports whether a text in lower case has the prompt of an encrypted
// machine.
func hasPrompt(text []byte) bool {
	return bytes.Contains(fromLine(text, promptStart), []byte(promptText))
}

// fromLine is a text from the first line on that begins with the words; nil if
// none does. Progress returns to the beginning of its line.
func fromLine(text []byte, words string) []byte {
	for at := 0; at < len(text); at++ {
		if begins := at == 0 || text[at-1] == '\n' || text[at-1] == '\r'; begins && bytes.HasPrefix(text[at:], []byte(words)) {
			return text[at:]
		}
	}
	return nil
}

// IsNotApplicable reports whether the error says that what was asked for does
// not exist for this version of the product or for this guest, so that nothing
// has failed.
func IsNotApplicable(err error) bool {
	code := errorCode(err)
	for i := range knownTexts {
		if knownTexts[i].code == code {
			return knownTexts[i].notApplicable
		}
	}
	return false
}

// editionText is the edition gate's sentence without its capitals
// (facts/prlctl.md 1.1).
const editionText = "this feature is not available in this edition of parallels desktop"

// Limits of what is looked at and kept of a tool's words.
const (
	maxMessage  = 4 << 10 // bytes searched for a known text, per stream
	maxTextLine = 200     // characters kept in Error.Text
)

// runError wraps what the runner returned, keeping its code.
func runError(err error) *Error {
	var failed *tool.Error
	if errors.As(err, &failed) {
		return &Error{Code: failed.Code, Err: err}
	}
	return &Error{Code: CodeToolFailed, Err: err}
}

// exitError explains an exit code other than 0.
func exitError(result *tool.Result) *Error {
	if known, ok := knownFailure(result); ok {
		return known
	}
	return &Error{Code: CodeToolFailed, ExitCode: result.ExitCode, Text: firstLine(toolMessages(result))}
}

// knownFailure looks a result up in the table of known texts.
func knownFailure(result *tool.Result) (*Error, bool) {
	said := toolMessages(result)
	lower, output := bytes.ToLower(said), bytes.ToLower(cappedMessage(result.Stdout))
	for i := range knownTexts {
		known := &knownTexts[i]
		if known.matches(result.ExitCode, lower, output) {
			return &Error{Code: known.code, ExitCode: result.ExitCode, Text: firstLine(said)}, true
		}
	}
	return nil, false
}

// toolMessages is what a tool said besides its answer: its standard error, then
// its standard output up to the JSON. What stands inside or behind the JSON is
// a user's data and never a message (H14).
func toolMessages(result *tool.Result) []byte {
	said := append([]byte(nil), cappedMessage(result.Stderr)...)
	said = append(said, '\n')
	return append(said, cappedMessage(wordsBefore(result.Stdout))...)
}

func cappedMessage(text []byte) []byte { return text[:min(len(text), maxMessage)] }

// pattern is a regular expression that is compiled when it is first used: what most
// agents never need would be a hundredth of their memory.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// licenseKey matches a license key as the tools print it, masked or not.
var licenseKey = pattern(`[0-9A-Za-z]{6}(-[0-9A-Za-z*]{6}){4}`)

// firstLine returns the first line that is not blank, without control or
// formatting characters and without a license key, cut to maxTextLine.
func firstLine(said []byte) string {
	for line := range bytes.Lines(said) {
		text := strings.TrimSpace(strings.Map(blankIfUnprintable, string(line)))
		if text == "" {
			continue
		}
		text = licenseKey().ReplaceAllStringFunc(text, maskKey)
		if runes := []rune(text); len(runes) > maxTextLine {
			text = string(runes[:maxTextLine])
		}
		return text
	}
	return ""
}

func blankIfUnprintable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// maskKeys masks each of the keys that the tools join by ";" (facts/captures.md
// 3).
func maskKeys(joined string) string {
	keys := strings.Split(joined, ";")
	for i, key := range keys {
		keys[i] = maskKey(key)
	}
	return strings.Join(keys, ";")
}

// maskKey hides the middle groups of a license key, as current versions of the
// tools do themselves (facts/prlctl.md 4.1). Other text comes back as it is.
func maskKey(key string) string {
	groups := strings.Split(key, "-")
	if len(groups) < 3 {
		return key
	}
	for i := 1; i < len(groups)-1; i++ {
		groups[i] = strings.Repeat("*", len(groups[i]))
	}
	return strings.Join(groups, "-")
}

// errorCode returns the code of an *Error anywhere in err, else "".
func errorCode(err error) string {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Code
	}
	return ""
}
