package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"prlagent/agent/localapi"
	"prlagent/agent/protocol"
)

const adminsOnly = "only administrators see other users"

func (m *checkedMac) checkUsers(context.Context) checkResult {
	status, _ := m.status()
	if status.Restricted {
		return asRoot(adminsOnly)
	}
	lists := listWords(status.Users)
	worst, others := lackingUsers(status.Users)
	if worst.Code == "" {
		return okResult("%s, %s.%s", countWords(status.Counts.Users, "user"), countWords(status.Counts.VMs, "virtual machine"), lists)
	}
	detail := worst.Who()
	if len(others) > 0 {
		detail += "; also " + strings.Join(others, ", ")
	}
	return codeResult(worst.Code, detail+"."+lists)
}

// listWords says of each user when their machines were listed last.
func listWords(users []protocol.UserLook) string {
	var words []string
	for _, user := range users {
		if !user.At.IsZero() {
			words = append(words, fmt.Sprintf("%s: %d at %s", user.Name, user.Count, utcWords(user.At)))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " Lists: " + strings.Join(words, "; ") + "."
}

// lackingUsers gives the user whose list lacks something for the worst reason,
// and the others in words.
func lackingUsers(users []protocol.UserLook) (worst protocol.UserLook, others []string) {
	severity := func(user protocol.UserLook) int {
		return slices.Index([]protocol.Severity{protocol.Info, protocol.Warning, protocol.Failure}, user.Code.Text().Severity)
	}
	for _, user := range users {
		if user.Code != "" && (worst.Code == "" || severity(user) > severity(worst)) {
			worst = user
		}
	}
	for _, user := range users {
		if user.Code != "" && user.UID != worst.UID {
			others = append(others, user.Who()+": "+string(user.Code))
		}
	}
	return worst, others
}

// troubledStream is how many streams of a user end in a row before that is no
// accident.
const troubledStream = 3

func (m *checkedMac) checkStreams(context.Context) checkResult {
	status, _ := m.status()
	if status.Restricted {
		return asRoot(adminsOnly)
	}
	if len(status.Streams) == 0 {
		return unneededResult("Nobody is listened to: no user has virtual machines, or the product is too old.")
	}
	open := 0
	var troubled []string
	for _, stream := range status.Streams {
		if stream.Open {
			open++
		}
		if stream.Failures >= troubledStream {
			troubled = append(troubled, fmt.Sprintf("%s: %d ended in a row", nameOf(status, stream.UID), stream.Failures))
		}
	}
	if len(troubled) > 0 {
		return codeResult(protocol.CodeStreamDown, strings.Join(troubled, "; ")+".")
	}
	if open == 0 {
		return okResult("None of %d is open, as while the Parallels service does not run; looks find the changes.", len(status.Streams))
	}
	return okResult("%d of %d are open.", open, len(status.Streams))
}

func nameOf(status localapi.Status, uid uint32) string {
	for _, user := range status.Users {
		if user.UID == uid {
			return user.Name
		}
	}
	return fmt.Sprintf("uid %d", uid)
}

// checkPrivacy tells what macOS' privacy control refuses, EPERM, from what the
// permissions of a file do, EACCES (facts/macos.md 7). The daemon's look at the
// files is what counts: this program's grants are those of its terminal.
func (m *checkedMac) checkPrivacy(context.Context) checkResult {
	inventory, err := m.inventory()
	switch {
	case err != nil:
		return unknownResult(err.Error())
	case inventory.Restricted:
		return asRoot(adminsOnly)
	}
	found := make(map[protocol.Code][]string)
	for _, row := range inventory.Rows {
		for _, code := range []protocol.Code{protocol.CodePrivacyDenied, protocol.CodeNotReadable} {
			if hasGap(row, code) {
				found[code] = append(found[code], row.Name+" of "+row.Owner)
			}
		}
	}
	for _, code := range []protocol.Code{protocol.CodePrivacyDenied, protocol.CodeNotReadable} {
		if names := found[code]; len(names) > 0 {
			return codeResult(code, strings.Join(names, ", ")+".")
		}
	}
	return okResult("%s can be read.", countWords(len(inventory.Rows), "virtual machine"))
}

func hasGap(row protocol.Row, code protocol.Code) bool {
	for _, reason := range row.Gaps {
		if reason == code {
			return true
		}
	}
	return false
}
