package agentapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/blobs"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/storage"
)

// diagnostics is the type of the one command whose execution uploads something.
const diagnostics = "diagnostics"

// blobKeeper keeps what is uploaded.
type blobKeeper interface {
	Put(deviceID, commandID, sum string, content io.Reader, size int64, now time.Time) (blobs.Blob, error)
}

// What is uploaded at a time.
const (
	uploadTime     = 15 * time.Minute // for one, over a slow line
	uploadsAtATime = 8                // of all devices; of one it is one
	uploadsPerHour = 12               // of one device
)

// takeBlob takes in what a Mac was asked for by a command, under its SHA-256: of a device
// that has such a command, and of no other.
func (s *Server) takeBlob(w http.ResponseWriter, r *http.Request) error {
	device, err := s.uploader(r)
	if err != nil {
		return err
	}
	if !s.deviceUploads.Take(device.ID) {
		return httpapi.RateLimited(w, time.Minute, "Another upload of this Mac is under way.")
	}
	defer s.deviceUploads.Release(device.ID)
	if wait, allowed := s.uploadBuckets.Take(device.ID, s.now().UTC()); !allowed {
		return httpapi.RateLimited(w, wait, "")
	}
	commandID, err := s.askedFor(r.Context(), device)
	if err != nil {
		return err
	}
	sum := r.PathValue("sha256")
	if err := checkUpload(r, sum); err != nil {
		return err
	}
	if !s.allUploads.Take("") {
		return httpapi.RateLimited(w, time.Minute, "Too many uploads are under way.")
	}
	defer s.allUploads.Release("")
	control, end := http.NewResponseController(w), time.Now().Add(uploadTime)
	_ = errors.Join(control.SetReadDeadline(end), control.SetWriteDeadline(end.Add(httpapi.WriteTimeout))) // or else it has the time of a report
	blob, err := s.blobs.Put(device.ID, commandID, sum, r.Body, r.ContentLength, s.now().UTC())
	if err != nil {
		return blobProblem(err)
	}
	s.log.Info().Str("device", device.ID).Str("command", commandID).Int64("bytes", blob.Size).Msg("upload taken")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// uploader is the device whose token it is, if it is served anything.
func (s *Server) uploader(r *http.Request) (storage.Device, error) {
	token := httpapi.BearerToken(r)
	if token == "" {
		return storage.Device{}, protocol.NewProblem(protocol.ProblemUnauthenticated, "")
	}
	device, err := s.deviceByToken(r.Context(), token)
	if err == nil && device.Duplicate != nil {
		err = *sequenceProblem(protocol.ProblemDuplicateIdentity, device)
	}
	return device, err
}

// askedFor is the command that the device was sent and that asks for an upload.
func (s *Server) askedFor(ctx context.Context, device storage.Device) (commandID string, err error) {
	if !device.HasCommands {
		return "", errNotAskedFor
	}
	log, err := s.store.Commands(ctx, device.ID)
	if err != nil {
		return "", fmt.Errorf("load commands: %w", err)
	}
	for i := range log.Commands {
		c := &log.Commands[i]
		if c.Type == diagnostics && c.IsOpen() && !c.DeliveredAt.IsZero() && c.Withheld == nil {
			return c.ID, nil
		}
	}
	return "", errNotAskedFor
}

var errNotAskedFor = protocol.NewProblem(protocol.ProblemInvalidRequest, "This Mac was asked for no upload.")

// checkUpload holds what is said of an upload against its name, before any of it is read.
func checkUpload(r *http.Request, sum string) error {
	digest, err := hex.DecodeString(sum)
	encoding := r.Header.Get("Content-Encoding")
	switch {
	case err != nil || len(digest) != sha256.Size:
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	case encoding != "" && encoding != "identity":
		return protocol.NewProblem(protocol.ProblemEncoding, "Send the content as it is.")
	case r.Header.Get("Content-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(digest)+":": // RFC 9530
		return protocol.NewProblem(protocol.ProblemInvalidRequest, "The Content-Digest is not the SHA-256 of the path.")
	case r.ContentLength < 0:
		return protocol.NewProblem(protocol.ProblemInvalidRequest, "Say with Content-Length how long the content is.")
	case r.ContentLength > protocol.MaxBlob:
		return protocol.NewProblem(protocol.ProblemTooLarge, fmt.Sprintf("An upload has at most %d bytes.", protocol.MaxBlob))
	}
	return nil
}

// blobProblem makes a problem of an upload that cannot be kept.
func blobProblem(err error) error {
	switch {
	case errors.Is(err, blobs.ErrDigest):
		return protocol.NewProblem(protocol.ProblemInvalidRequest, "The content is not that of the SHA-256.")
	case errors.Is(err, blobs.ErrName):
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	case errors.Is(err, blobs.ErrFull):
		return protocol.NewProblem(protocol.ProblemUnavailable, "The portal has no room for uploads.")
	}
	return err
}
