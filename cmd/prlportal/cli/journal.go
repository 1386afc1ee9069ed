package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// journalOptions say what of the journal is exported.
type journalOptions struct {
	kind       string // fleet.JournalEvents or JournalVerdicts
	cursorFile string
	stderr     io.Writer
}

// wantsJournal reports whether an export of this name is one of the journal: that
// of verdicts always is, that of events where a cursor says from where on.
func (o *listOptions) wantsJournal(name, cursorFile string) bool {
	_, err := fleet.ParseCursor(text.TypedWord(o.view.Query.Since))
	isCursor := err == nil
	return name == fleet.JournalVerdicts || name == fleet.JournalEvents && (isCursor || cursorFile != "")
}

// exportJournal writes what is new behind the cursor, each row on a line, and then
// keeps the cursor behind the last one where a file for it is named.
func (o *listOptions) exportJournal(ctx context.Context, journal journalOptions, write func(func(io.Writer) error) error) error {
	cursor, err := o.journalCursor(journal)
	if err != nil {
		return err
	}
	client, err := o.admin.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	var end fleet.JournalEnd
	err = write(func(w io.Writer) error {
		end, err = writeJournal(ctx, client, journal.kind, cursor, w)
		return err
	})
	if err != nil {
		return asUsage(err)
	}
	if end.Incomplete {
		fmt.Fprintf(journal.stderr, "prlportal: of what is new behind %s something is kept no longer; export more often\n", cursor)
	}
	if journal.cursorFile == "" {
		return nil
	}
	return writeWhole(journal.cursorFile, func(w io.Writer) error { return writeText(w, end.Cursor+"\n") })
}

// maxCursorFile is more than a cursor has.
const maxCursorFile = 4 << 10

// journalCursor is from where on to export.
func (o *listOptions) journalCursor(journal journalOptions) (string, error) {
	typed := text.TypedWord(o.view.Query.Since)
	if typed == "" && journal.cursorFile != "" {
		data, err := safefile.ReadFile(journal.cursorFile, maxCursorFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read cursor: %w", err)
		}
		typed = strings.TrimSpace(string(data))
	}
	if typed == "" {
		return fleet.CursorStart, nil
	}
	cursor, err := fleet.ParseCursor(typed)
	if err != nil {
		return "", usageError("--since: " + err.Error())
	}
	return cursor.String(), nil
}

func writeJournal(ctx context.Context, client *adminapi.Client, kind, cursor string, w io.Writer) (fleet.JournalEnd, error) {
	buffered := bufio.NewWriter(w)
	end, err := client.Journal(ctx, kind, cursor, func(data json.RawMessage) error {
		row, err := readRow(data)
		if err != nil {
			return err
		}
		return ndjsonRows{w: buffered}.write(row)
	})
	return end, errors.Join(err, buffered.Flush())
}
