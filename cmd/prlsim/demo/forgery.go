package demo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// forgeHead plays somebody who took over the portal: a newer policy head under
// the old signature. The Mac must refuse it, keep what it has, and say so.
func forgeHead(s *demoRun) (string, error) {
	path := filepath.Join(s.portalFolder, "portal", "content", "heads", "default.dsse.json")
	genuine, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the head: %w", err)
	}
	forged, err := newerHead(genuine)
	if err != nil {
		return "", err
	}
	s.narrator.printNote("change the policy head on the portal's disk, and put it back")
	refused, err := s.withHead(path, forged, "checkin", "--wait")
	if err != nil {
		return "", err
	}
	during, err := s.readStatus()
	if err != nil {
		return "", err
	}
	if _, err := s.withHead(path, genuine, "checkin", "--wait"); err != nil {
		return "", err
	}
	after, err := s.readStatus()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("refused with head_signature, exit code %d; the report itself arrived; afterwards: %s", refused.code, after.Health.State),
		checkThat(during.hasCondition("head_signature") && refused.code == 1 && after.Health.State == "healthy", "%+v, then %s", during.Health, after.Health.State)
}

// withHead puts a head in place and runs prlagent.
func (s *demoRun) withHead(path string, head []byte, args ...string) (programResult, error) {
	if err := os.WriteFile(path, head, 0o644); err != nil {
		return programResult{}, fmt.Errorf("write the head: %w", err)
	}
	return s.runShown("prlagent", args...)
}

// newerHead raises the version inside an envelope and leaves the signature.
func newerHead(envelope []byte) ([]byte, error) {
	var outer map[string]any
	if err := json.Unmarshal(envelope, &outer); err != nil {
		return nil, fmt.Errorf("read the envelope: %w", err)
	}
	encoded, _ := outer["payload"].(string)
	payload, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("read the envelope: %w", err)
	}
	var head struct {
		Version int `json:"head_version"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	version := func(number int) []byte { return fmt.Appendf(nil, `"head_version":%d`, number) }
	changed := bytes.Replace(payload, version(head.Version), version(head.Version+1), 1)
	if bytes.Equal(changed, payload) {
		return nil, fmt.Errorf("the head has no version: %s", payload)
	}
	outer["payload"] = base64.StdEncoding.EncodeToString(changed)
	return json.Marshal(outer)
}
