package prlctl

import (
	"bytes"
	"slices"
	"strings"

	"prlagent/platform/tool"
)

// Limits of a help text. None of the real ones has been seen; the longest
// reference of the tools is about a tenth of this.
const (
	maxHelp       = 256 << 10 // bytes
	maxHelpFlags  = 1024
	maxHelpValues = 32 // of one flag
)

// helpText is what one help shows: the flags with the words offered for them.
// The layout of the real texts is not known, so only what any layout must have
// is used: a flag is spelled with two dashes, a choice has bars between words.
type helpText struct {
	flags map[string][]string
	text  string
}

var (
	helpFlag   = pattern(`(?:^|[^\w-])(--[a-z0-9][a-z0-9-]{0,62}[a-z0-9])`)
	helpChoice = pattern(`^[ \t=:]*[<{\[(]?[ \t]*([A-Za-z0-9_-]+(?:[ \t]*\|[ \t]*[A-Za-z0-9_-]+)+)`)
	// helpCommand is the first word of a line where what follows is no prose: an
	// argument, an option, a gap before an explanation, or nothing.
	helpCommand = pattern(`(?m)^[ \t]*(?:prlctl[ \t]+)?([a-z][a-z0-9-]{1,40})(?:[ \t]*$|[ \t]+[<\[{(|A-Z-]|\t| {2,})`)
)

// readHelp reads what a help printed, on either stream and with any exit code:
// none of the two is known. A help without a flag of its own is none.
func readHelp(result tool.Result) (helpText, error) {
	if len(result.Stdout)+len(result.Stderr) > maxHelp {
		return helpText{}, &Error{Code: CodeOutputTooLarge}
	}
	output := slices.Concat(result.Stdout, []byte("\n"), result.Stderr)
	if bytes.Contains(bytes.ToLower(output), []byte(editionText)) {
		return helpText{}, &Error{Code: CodeEdition, ExitCode: result.ExitCode}
	}
	if result.ExitCode != 0 {
		if reason, ok := knownFailure(&result); ok {
			return helpText{}, reason
		}
	}
	help := helpText{text: strings.ToValidUTF8(string(output), " ")}
	if err := help.readFlags(); err != nil {
		return helpText{}, err
	}
	if delete(help.flags, "--help"); len(help.flags) == 0 {
		return helpText{}, &Error{Code: CodeOutputInvalid, ExitCode: result.ExitCode, Text: firstLine(output[:min(len(output), maxMessage)])}
	}
	return help, nil
}

func (h *helpText) readFlags() error {
	h.flags = make(map[string][]string)
	for _, at := range helpFlag().FindAllStringSubmatchIndex(h.text, -1) {
		name := h.text[at[2]:at[3]]
		if isPartOfWord(h.text[at[3]:]) {
			continue
		}
		values := h.flags[name]
		for _, value := range readChoice(h.text[at[3]:]) {
			if len(values) < maxHelpValues && !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
		h.flags[name] = values
		if len(h.flags) > maxHelpFlags {
			return &Error{Code: CodeOutputTooLarge}
		}
	}
	return nil
}

// isPartOfWord reports whether what was found is only the beginning of another word.
func isPartOfWord(rest string) bool {
	return rest != "" && (rest[0] == '-' || rest[0] == '_' || rest[0] >= 'A' && rest[0] <= 'Z' || isLowerOrDigit(rest[0]))
}

func isLowerOrDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// readChoice reads "<on | off>" behind a flag.
func readChoice(text string) []string {
	found := helpChoice().FindStringSubmatch(text[:min(len(text), 512)])
	if found == nil {
		return nil
	}
	words := strings.Split(found[1], "|")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return words
}

func (h helpText) hasFlag(flag string) bool {
	_, shown := h.flags[flag]
	return shown
}

// commandSections are the commands that begin a line, each with its text up to
// the next one; what stands twice, as list does (facts/captures.md 5.3), is
// joined.
func (h helpText) commandSections() map[string]string {
	out := make(map[string]string)
	found := helpCommand().FindAllStringSubmatchIndex(h.text, -1)
	for i, at := range found {
		end := len(h.text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		out[h.text[at[2]:at[3]]] += h.text[at[2]:end] + "\n"
	}
	return out
}

// mentionsWord reports whether the word stands anywhere in the text by itself.
func (h helpText) mentionsWord(word string) bool {
	words := strings.FieldsFunc(strings.ToLower(h.text), func(r rune) bool {
		return r != '-' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return slices.ContainsFunc(words, func(other string) bool { return strings.Trim(other, "-") == word })
}
