package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/blobs"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// withUpload adds a flag that writes what the Mac uploaded for a command.
func (o *listOptions) withUpload(command *cobra.Command) {
	var path string
	command.Flags().StringVar(&path, "save", "", "with ID: write what the Mac uploaded for the command to this file")
	show := command.RunE
	command.RunE = func(command *cobra.Command, args []string) error {
		switch {
		case path == "":
			return show(command, args)
		case len(args) == 0:
			return usageError("--save is for one command; give its ID")
		}
		return o.saveUpload(command.Context(), command.OutOrStdout(), args[0], path)
	}
}

// uploadWords say what the Mac uploaded for a command.
func uploadWords(blob *blobs.Blob, zone *time.Location) string {
	if blob == nil {
		return ""
	}
	return fmt.Sprintf("%d bytes at %s, SHA-256 %s; --save FILE writes it", blob.Size, localTime(blob.At, zone), blob.SHA256)
}

// saveUpload writes what the Mac uploaded for a command. The file has its name once it is
// whole.
func (o *listOptions) saveUpload(ctx context.Context, w io.Writer, id, path string) error {
	return o.admin.ask(ctx, func(ctx context.Context, client *adminapi.Client) error {
		detail, err := client.Command(ctx, text.TypedID(id))
		if err != nil {
			return err
		}
		if detail.Blob == nil {
			return errors.New("the Mac has uploaded nothing for this command, or it is kept no more")
		}
		var content bytes.Buffer
		if err := client.Blob(ctx, detail.CommandID, detail.Blob.SHA256, &content); err != nil {
			return err
		}
		if err := safefile.WriteFile(path, content.Bytes(), 0o600); err != nil {
			return fmt.Errorf("write upload: %w", err)
		}
		return writeText(w, fmt.Sprintf("Wrote %s, %d bytes, SHA-256 %s.\n", text.DisplayValue(path), content.Len(), text.DisplayValue(detail.Blob.SHA256)))
	})
}
