package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
)

// listContent answers with what is published: heads, and the index of policies.
func (s *Server) listContent(w http.ResponseWriter, r *http.Request) error {
	published, err := s.content.Published(r.Context())
	if err != nil {
		return err
	}
	published.PrimaryGroup = s.config.PrimaryGroup
	for _, group := range s.config.Groups {
		published.Groups = append(published.Groups, content.GroupNamed{ID: group.ID, Name: group.Name})
	}
	if published.Heads == nil {
		published.Heads = []content.Head{}
	}
	if published.Policies == nil {
		published.Policies = []content.Document{}
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, published)
}

// ContentTaken is what an upload brought.
type ContentTaken struct {
	Policies int `json:"policies"`
	Heads    int `json:"heads"`
}

// addContent takes in what an operator has signed, if the site's policy keys say
// so. Who did it is on record before anything is kept.
func (s *Server) addContent(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r, protocol.MaxRequest)
	if err != nil {
		return err
	}
	var upload content.Upload
	if err := httpapi.DecodeBody(body, &upload); err != nil {
		return err
	}
	entry := audit.Entry{
		At: s.now().UTC(), Action: audit.ActionPublish, Outcome: audit.OutcomeDecided,
		Groups: groupsOf(upload), Admin: adminOf(r).Name, Source: httpapi.SourceAddress(r),
	}
	if err := s.record.Append(entry); err != nil {
		return err
	}
	if err := s.content.Accept(r.Context(), s.config.SiteID, upload, s.now().UTC()); err != nil {
		return errors.Join(contentProblem(err), s.recordFailure(entry))
	}
	s.log.Info().Strs("groups", entry.Groups).Int("policies", len(upload.Policies)).Str("admin", entry.Admin).Msg("content published")
	return httpapi.WriteJSON(w, r, http.StatusOK, ContentTaken{Policies: len(upload.Policies), Heads: len(upload.Heads)})
}

// groupsOf are the groups that an upload says it is for.
func groupsOf(upload content.Upload) []string {
	var groups []string
	for _, envelope := range upload.Heads {
		if head, err := (content.Head{Envelope: envelope}).Decode(); err == nil {
			groups = append(groups, head.GroupID)
		}
	}
	return groups
}

// refusals are the errors of what was sent, and not of this portal.
var refusals = []error{
	content.ErrConflict, content.ErrNoPolicyKeys, content.ErrNotAPolicy, content.ErrMissingPolicy, content.ErrNotForGroup, content.ErrOldKeys, content.ErrEnded, content.ErrUnnamed,
	site.ErrPolicyKeys, protocol.ErrRollback, protocol.ErrWrongSite, protocol.ErrWrongGroup, protocol.ErrPolicyHash, protocol.ErrHeadInvalid,
	protocol.ErrSignature, protocol.ErrPayloadType, protocol.ErrEnvelopeInvalid,
}

func contentProblem(err error) error {
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return protocol.NewProblem(protocol.ProblemInvalidRequest, protocol.CutText("Refused: "+err.Error()+".", protocol.MaxText))
		}
	}
	return err
}

// headsEnd is when the first of the heads ends; zero where there is none that can
// be read.
func (s *Server) headsEnd(ctx context.Context) time.Time {
	published, err := s.content.Heads(ctx)
	if err != nil {
		s.log.Warn().Err(err).Msg("content cannot be read")
		return time.Time{}
	}
	var heads []protocol.Head
	for _, one := range published.Heads {
		if head, err := one.Decode(); err == nil {
			heads = append(heads, head)
		}
	}
	return content.EndOf(heads)
}

// Published is what the portal has for Macs.
func (c *Client) Published(ctx context.Context) (content.Published, error) {
	var published content.Published
	err := c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "content"}, nil, &published)
	return published, err
}

// Policy is the policy with this hash, as a Mac gets it.
func (c *Client) Policy(ctx context.Context, sha256 string) ([]byte, error) {
	if !protocol.ValidName(sha256) {
		return nil, errUnexpected
	}
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	response, err := c.doRequest(ctx, http.MethodGet, c.baseURL.JoinPath("v1", "content", "policies", sha256+".json"), nil, "application/json")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	document, err := protocol.ReadLimited(response.Body, protocol.MaxPolicy)
	if err != nil {
		return nil, err
	}
	if pointer := protocol.PointTo("", 0, document); pointer.SHA256 != strings.ToLower(sha256) {
		return nil, protocol.ErrPolicyHash
	}
	return document, nil
}

// Limits of a part of an upload, which keep a request within what the portal reads.
const (
	headsPerUpload = 100
	bytesPerUpload = protocol.MaxRequest / 4
)

// Add uploads what the operator has signed, in parts of which each is whole: what
// breaks off leaves no head of a policy that is not there.
func (c *Client) Add(ctx context.Context, upload content.Upload) error {
	parts, err := upload.Split(headsPerUpload, bytesPerUpload)
	if err != nil {
		return err
	}
	for _, part := range parts {
		var taken ContentTaken
		if err := c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "content"}, part, &taken); err != nil {
			return err
		}
	}
	return nil
}
