package adminapi

import (
	"net/http"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/httpapi"
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
	if err := s.record.Append(audit.Entry{
		At: s.now().UTC(), Action: audit.ActionBackup, Outcome: audit.OutcomeDecided, Admin: adminOf(r).Name, Source: httpapi.SourceAddress(r),
	}); err != nil {
		return err
	}
	out := newStreamWriter(w, BackupType)
	return s.endStream(r, out, s.source.Write(r.Context(), out, backup.Manifest{
		SiteID: s.config.SiteID, Name: s.config.Name, URL: s.config.URL, Version: s.version, MadeAt: s.now().UTC(),
	}))
}
