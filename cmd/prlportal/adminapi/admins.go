package adminapi

import (
	"errors"
	"net/http"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/platform/text"
)

// Admin is an admin as the admin plane shows them, without their token.
type Admin struct {
	Name      string      `json:"name"`
	Role      admins.Role `json:"role"`
	AddedAt   time.Time   `json:"added_at,omitzero"`
	AddedBy   string      `json:"added_by,omitempty"`
	RevokedAt time.Time   `json:"revoked_at,omitzero"` // zero: the token counts
	RevokedBy string      `json:"revoked_by,omitempty"`
}

// NewAdmin is an admin who was made right now: the only time that the token is
// shown.
type NewAdmin struct {
	Admin
	Token string `json:"token"`
}

// adminList are all admins.
type adminList struct {
	Admins []Admin `json:"admins"`
}

// adminWanted asks for an admin.
type adminWanted struct {
	Name string      `json:"name"`
	Role admins.Role `json:"role"`
}

// certificateList is what Macs and operators must trust.
type certificateList struct {
	Certificates [][]byte `json:"certificates"` // DER
}

func shownAdmin(one admins.Admin) Admin {
	return Admin{Name: one.Name, Role: one.Role, AddedAt: one.AddedAt, AddedBy: one.AddedBy, RevokedAt: one.RevokedAt, RevokedBy: one.RevokedBy}
}

func (s *Server) listAdmins(w http.ResponseWriter, r *http.Request) error {
	list := adminList{Admins: []Admin{}}
	for _, one := range s.admins.List() {
		list.Admins = append(list.Admins, shownAdmin(one))
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, list)
}

// addAdmin records who adds whom before the token counts.
func (s *Server) addAdmin(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r, httpapi.MaxSmallBody)
	if err != nil {
		return err
	}
	var asked adminWanted
	if err := httpapi.DecodeBody(body, &asked); err != nil {
		return err
	}
	name, role := text.TypedWord(asked.Name), admins.Role(text.TypedWord(string(asked.Role)))
	_, _, err = admins.New(name, role, "", s.now())
	if err == nil && s.admins.Has(name) {
		err = admins.ErrExists
	}
	if err != nil {
		return adminProblem(err)
	}
	entry := s.adminEntry(r, audit.ActionAddAdmin, name, role)
	if err := s.record.Append(entry); err != nil {
		return err
	}
	made, token, err := s.admins.Add(name, role, adminOf(r).Name, s.now())
	if err != nil {
		return errors.Join(adminProblem(err), s.recordFailure(entry))
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, NewAdmin{Admin: shownAdmin(made), Token: token})
}

func (s *Server) revokeAdmin(w http.ResponseWriter, r *http.Request) error {
	name := text.TypedWord(r.PathValue("name"))
	if !s.admins.Has(name) {
		return adminProblem(admins.ErrUnknown)
	}
	entry := s.adminEntry(r, audit.ActionRevokeAdmin, name, "")
	if err := s.record.Append(entry); err != nil {
		return err
	}
	revoked, err := s.admins.Revoke(name, adminOf(r).Name, s.now())
	if err != nil {
		return errors.Join(adminProblem(err), s.recordFailure(entry))
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, shownAdmin(revoked))
}

func (s *Server) adminEntry(r *http.Request, action, name string, role admins.Role) audit.Entry {
	return audit.Entry{
		At: s.now().UTC(), Action: action, Outcome: audit.OutcomeDecided, Name: protocol.CutText(name, protocol.MaxName),
		Role: string(role), Admin: adminOf(r).Name, Source: httpapi.SourceAddress(r),
	}
}

// adminProblem turns what is wrong with a wish into the answer.
func adminProblem(err error) error {
	switch {
	case errors.Is(err, admins.ErrName), errors.Is(err, admins.ErrReserved), errors.Is(err, admins.ErrExists), errors.Is(err, admins.ErrTooMany):
		return httpapi.InvalidField("name", err.Error())
	case errors.Is(err, admins.ErrRole):
		return httpapi.InvalidField("role", err.Error())
	case errors.Is(err, admins.ErrUnknown):
		return protocol.NewProblem(protocol.ProblemNotFound, "There is no admin of that name.")
	}
	return err
}

func (s *Server) listCertificates(w http.ResponseWriter, r *http.Request) error {
	trusted, err := site.TrustedCertificates(s.source.Folder, s.now())
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, certificateList{Certificates: trusted})
}
