package checkin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"prlagent/agent/protocol"
)

// maxBlobReply caps what the portal says to an upload, in bytes.
const maxBlobReply = 64 << 10

// UploadBlob sends what the portal has asked for by a command, under its SHA-256 in
// hex, which it gives. It has a connection of its own, so that no check-in waits for it
// (H59), and is no exchange: the state of the client stays as it is. Content of more than
// protocol.MaxBlob bytes is refused. Errors have a code, as those of Do.
func (c *Client) UploadBlob(ctx context.Context, content []byte) (sha256Hex string, err error) {
	sum := sha256.Sum256(content)
	sha256Hex = hex.EncodeToString(sum[:])
	if len(content) > protocol.MaxBlob {
		return sha256Hex, withCode(protocol.CodeReportTooLarge, errors.New("too large to be sent"))
	}
	if c.options.ServerURL == nil {
		return sha256Hex, withCode(protocol.CodeNotConfigured, errors.New("no portal is configured"))
	}
	if err := c.loadIdentity(); err != nil {
		return sha256Hex, err
	}
	who := c.currentIdentity()
	if !who.Enrolled(originOf(c.options.ServerURL)) {
		return sha256Hex, withCode(protocol.CodeNotEnrolled, errors.New("the portal does not know this Mac"))
	}
	sender := New(c.options)
	defer sender.Close()
	got, err := sender.sendRequest(ctx, &portalRequest{
		method: http.MethodPut, url: c.options.ServerURL.JoinPath("v1", "blobs", sha256Hex), token: who.token,
		body: content, media: "application/octet-stream", digest: sum[:], limit: maxBlobReply,
	})
	switch {
	case err != nil:
		return sha256Hex, fmt.Errorf("upload: %w", err)
	case got.status != http.StatusOK && got.status != http.StatusCreated && got.status != http.StatusNoContent:
		return sha256Hex, fmt.Errorf("upload: %w", c.refusalError(got))
	}
	return sha256Hex, nil
}
