package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"prlagent/agent/config"
	"prlagent/agent/protocol"
)

// checkCommandKeys says whose commands this Mac carries out, and which.
func (m *checkedMac) checkCommandKeys(context.Context) checkResult {
	explained := m.explained()
	if file := hiddenFile(explained.Files); file != "" && os.Geteuid() != 0 {
		return asRoot(file + " is for root only")
	}
	return judgeCommandKeys(explained.Config)
}

func judgeCommandKeys(c config.Config) checkResult {
	if len(c.CommandKeys) == 0 {
		return unneededResult("CommandKeys names no key, so no command runs.")
	}
	ids := make([]string, 0, len(c.CommandKeys))
	for _, key := range c.CommandKeys {
		ids = append(ids, key.ID)
	}
	words := fmt.Sprintf("%s: %s.", countWords(len(ids), "key"), strings.Join(ids, ", "))
	var allowed, closed []string
	for _, row := range protocol.CommandTypes {
		needed := 1
		if set, named := c.CommandThreshold[row.Type]; named {
			needed = set
		}
		switch isAllowed := !row.Listed || slices.Contains(c.AllowedCommands, row.Type); {
		case !isAllowed:
		case needed == 0 || needed > len(ids):
			closed = append(closed, row.Type)
		case needed > 1:
			allowed = append(allowed, fmt.Sprintf("%s with %d keys", row.Type, needed))
		default:
			allowed = append(allowed, row.Type)
		}
	}
	words += withPrefix(" Allowed: ", strings.Join(allowed, ", ")+".")
	switch {
	case len(closed) > 0:
		return checkResult{
			Outcome: outcomeWarning, Code: protocol.CodeConfigInvalid,
			Text:   words + " Listed, and never carried out, because CommandThreshold wants more keys than there are: " + strings.Join(closed, ", ") + ".",
			Remedy: "Add keys to CommandKeys of the profile, or lower CommandThreshold.",
		}
	case c.Mode != protocol.ModeEnforce:
		return checkResult{Outcome: outcomeNote, Text: words + " The mode is monitor: what changes anything is rejected."}
	}
	return okResult("%s", words)
}

// allowsDestruction reports whether a configuration allows what nothing puts back.
func allowsDestruction(c config.Config) bool {
	return slices.ContainsFunc(protocol.CommandTypes, func(row protocol.CommandType) bool {
		return row.Destructive && slices.Contains(c.AllowedCommands, row.Type)
	})
}

// checkCommandTime says whether a command could begin that destroys something (H24).
func (m *checkedMac) checkCommandTime(context.Context) checkResult {
	status, err := m.status()
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case status.Commands == nil || !allowsDestruction(m.explained().Config):
		return unneededResult("No command is allowed that destroys anything.")
	case !status.Commands.TimeProven:
		return codeResult(protocol.CodeTimeUnproven, "")
	}
	return okResult("It was heard of the portal since this Mac started, or its clock was never set back.")
}

// checkCommandRecord says whether a command could begin that changes something (H22).
func (m *checkedMac) checkCommandRecord(context.Context) checkResult {
	status, err := m.status()
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case status.Commands == nil:
		return unneededResult("There is no command, and no key for one.")
	case status.Commands.RecordCode != "":
		return codeResult(status.Commands.RecordCode, "")
	}
	return okResult("%s open; see 'prlagent commands'.", countWords(status.Commands.Open, "command"))
}
