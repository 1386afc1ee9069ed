package adminapi

import (
	"errors"
	"net/http"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/backup"
)

// BackupType is the media type of a backup.
const BackupType = "application/gzip"

// sendBackup streams a backup of the portal's folder, one at a time. What breaks
// off has no end, which the client finds.
func (s *Server) sendBackup(w http.ResponseWriter, r *http.Request) error {
	if s.source.Database == nil {
		return protocol.NewProblem(protocol.ProblemUnavailable, "This portal keeps nothing.")
	}
	if !s.backingUp.TryLock() {
		return protocol.NewProblem(protocol.ProblemUnavailable, "Another backup is being taken.")
	}
	defer s.backingUp.Unlock()
	entry := s.adminEntry(r, audit.ActionBackup, "", "")
	if err := s.record.Append(entry); err != nil {
		return err
	}
	out := newStreamWriter(w, BackupType)
	err := s.source.Write(r.Context(), out, backup.Manifest{
		SiteID: s.config.SiteID, Name: s.config.Name, URL: s.config.URL, Version: s.version, MadeAt: s.now().UTC(),
	})
	if err != nil {
		err = errors.Join(err, s.recordFailure(entry))
	}
	return s.endStream(r, out, err)
}
