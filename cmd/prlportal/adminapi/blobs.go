package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/blobs"
)

// blobReader reads what Macs uploaded.
type blobReader interface {
	Find(deviceID, commandID string, now time.Time) (blobs.Blob, error)
	Open(deviceID, commandID string, now time.Time) (*os.File, blobs.Blob, error)
}

// BlobType is the media type of what a Mac uploaded.
const BlobType = "application/octet-stream"

// sendBlob answers with what the Mac uploaded for a command.
func (s *Server) sendBlob(w http.ResponseWriter, r *http.Request) error {
	deviceID, commandID, err := s.commandByID(r)
	if err != nil {
		return err
	}
	file, blob, err := s.blobs.Open(deviceID, commandID, s.now().UTC())
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.NewProblem(protocol.ProblemNotFound, "The Mac has uploaded nothing for this command, or it is kept no more.")
	}
	if err != nil {
		return fmt.Errorf("open blob: %w", err)
	}
	defer file.Close()
	s.log.Info().Str("device", deviceID).Str("command", commandID).Str("admin", adminOf(r).Name).Str("sha256", blob.SHA256).Msg("upload fetched")
	out := newStreamWriter(w, BlobType)
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, file, make([]byte, streamBuffer))
	return s.endStream(r, out, err)
}

// Blob writes what the Mac uploaded for a command, which has that SHA-256 in hex.
func (c *Client) Blob(ctx context.Context, commandID, sum string, w io.Writer) error {
	id, err := pathElement(commandID)
	if err != nil {
		return err
	}
	response, err := c.doRequest(ctx, http.MethodGet, c.baseURL.JoinPath("v1", "admin", "commands", id, "blob"), nil, BlobType)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, hash), io.LimitReader(response.Body, protocol.MaxBlob+1)); err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	if hex.EncodeToString(hash.Sum(nil)) != sum {
		return errors.New("what the portal sent broke off, or is not what the Mac uploaded; try again")
	}
	return nil
}
