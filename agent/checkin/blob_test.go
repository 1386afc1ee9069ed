package checkin

import (
	"context"
	"testing"

	"prlagent/agent/protocol"
)

// An upload is sent by its digest, with the device's token, and changes nothing of what
// is known of check-ins.
func TestCMD_UploadByDigest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" // of "x"
	if _, err := b.client.UploadBlob(context.Background(), []byte("x")); protocol.CodeOf(err) != protocol.CodeNotEnrolled {
		t.Errorf("before the enrollment: %v", err)
	}
	b.do("manual")
	b.portal.sent()
	what := "PUT /v1/blobs/" + digest
	b.portal.on(what, plainAnswer(201, "application/json", "{}"))
	got, err := b.client.UploadBlob(context.Background(), []byte("x"))
	if err != nil || got != digest {
		t.Fatalf("got %s, %v", got, err)
	}
	request := b.portal.wantSent(what)[0]
	if token := request.header.Get("Authorization"); token != "Bearer "+b.portal.token || string(request.body) != "x" ||
		request.header.Get("Content-Digest") != "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:" {
		t.Errorf("sent %v, %q", request.header, request.body)
	}

	b.portal.on(what, problem("payload-too-large"))
	if _, err := b.client.UploadBlob(context.Background(), []byte("x")); protocol.CodeOf(err) == "" {
		t.Errorf("refused: %v", err)
	}
	b.portal.sent()
	if _, err := b.client.UploadBlob(context.Background(), make([]byte, protocol.MaxBlob+1)); protocol.CodeOf(err) != protocol.CodeReportTooLarge {
		t.Errorf("too large: %v", err)
	}
	b.portal.wantSent()
	b.do("manual")
}
