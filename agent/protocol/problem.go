package protocol

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// ProblemContentType is the media type of our errors (RFC 9457).
const ProblemContentType = "application/problem+json"

// problemBase is the URI that our problem types are relative to; it names
// types and is never fetched.
const problemBase = "urn:prlagent:problem:"

// Problem is the body of every error that a portal of ours gives.
type Problem struct {
	Type     string `json:"type"` // problemBase + one of the names of Problems
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	Retry    string `json:"retry"` // never, later or reenroll
	Field    string `json:"field,omitempty"`
	// Expected is the number to go on with: of a report's sequence, or, for
	// enrollment-replayed, the least time of a request id in milliseconds.
	Expected uint64 `json:"expected,omitempty"`
}

// Values of Problem.Retry.
const (
	RetryNever    = "never"
	RetryLater    = "later"
	RetryReenroll = "reenroll"
)

// ProblemKind is one row of the table of problems: what the portal says and
// what the agent makes of it.
type ProblemKind struct {
	Name   string
	Status int
	Title  string
	Retry  string
	Code   Code // the agent's word for it
}

// Names of problems.
const (
	ProblemInvalidRequest    = "invalid-request"
	ProblemUnsupported       = "unsupported-protocol"
	ProblemUnauthenticated   = "unauthenticated"
	ProblemDeviceUnknown     = "device-unknown"
	ProblemEnrollmentRefused = "enrollment-refused"
	ProblemEnrollmentClosed  = "enrollment-closed"
	ProblemWrongPortal       = "enrollment-wrong-portal"
	ProblemEnrollmentStale   = "enrollment-stale"
	ProblemEnrollmentReplay  = "enrollment-replayed"
	ProblemEnrollmentDenied  = "enrollment-rejected"
	ProblemPendingFull       = "pending-keys-full"
	ProblemDeviceRevoked     = "device-revoked"
	ProblemDeviceRetired     = "device-retired"
	ProblemDuplicateIdentity = "duplicate-identity"
	ProblemSequenceConflict  = "sequence-conflict"
	ProblemTooLarge          = "payload-too-large"
	ProblemEncoding          = "unsupported-encoding"
	ProblemRateLimited       = "rate-limited"
	ProblemUnavailable       = "unavailable"
	ProblemInternal          = "internal"
	ProblemNotFound          = "not-found"
	ProblemNotAllowed        = "not-allowed" // an admin's role does not allow it
)

// Problems is the table of protocol.md 2.12.
var Problems = []ProblemKind{
	{ProblemInvalidRequest, http.StatusBadRequest, "The request is not valid", RetryNever, CodePortalRefused},
	{ProblemUnsupported, http.StatusBadRequest, "The protocol version is not supported", RetryNever, CodePortalRefused},
	{ProblemUnauthenticated, http.StatusUnauthorized, "The token is not valid", RetryReenroll, CodeDeviceUnknown},
	{ProblemDeviceUnknown, http.StatusUnauthorized, "The device is not known", RetryReenroll, CodeDeviceUnknown},
	{ProblemEnrollmentRefused, http.StatusForbidden, "The enrollment secret is not valid", RetryLater, CodeEnrollmentRefused},
	{ProblemEnrollmentClosed, http.StatusForbidden, "Enrollment is closed", RetryLater, CodeEnrollmentClosed},
	{ProblemWrongPortal, http.StatusForbidden, "The enrollment is meant for another portal", RetryLater, CodeEnrollmentWrongPortal},
	{ProblemEnrollmentStale, http.StatusForbidden, "The enrollment is more than a day from the portal's clock", RetryLater, CodeEnrollmentStale},
	{ProblemEnrollmentReplay, http.StatusConflict, "A newer enrollment of this device came before", RetryLater, CodeEnrollmentReplayed},
	{ProblemEnrollmentDenied, http.StatusForbidden, "An administrator rejected this key", RetryLater, CodeEnrollmentRejected},
	{ProblemPendingFull, http.StatusConflict, "Too many keys wait for approval as this device", RetryLater, CodePendingKeysFull},
	{ProblemDeviceRevoked, http.StatusForbidden, "The device is revoked", RetryLater, CodeDeviceRevoked},
	{ProblemDeviceRetired, http.StatusGone, "The device is retired", RetryLater, CodeDeviceRetired},
	{ProblemDuplicateIdentity, http.StatusConflict, "Two devices report under one identity", RetryLater, CodeDuplicateIdentity},
	{ProblemSequenceConflict, http.StatusConflict, "The sequence number was used for another report", RetryLater, CodeSequenceConflict},
	{ProblemTooLarge, http.StatusRequestEntityTooLarge, "The request is too large", RetryNever, CodeReportTooLarge},
	{ProblemEncoding, http.StatusUnsupportedMediaType, "The content encoding is not supported", RetryLater, CodePortalRefused},
	{ProblemRateLimited, http.StatusTooManyRequests, "Too many requests", RetryLater, CodePortalBusy},
	{ProblemUnavailable, http.StatusServiceUnavailable, "The portal is not available", RetryLater, CodePortalBusy},
	{ProblemInternal, http.StatusInternalServerError, "The portal failed", RetryLater, CodePortalOutage},
	{ProblemNotFound, http.StatusNotFound, "There is nothing here", RetryLater, CodePortalOutage},
	{ProblemNotAllowed, http.StatusForbidden, "The role of this admin does not allow it", RetryNever, CodePortalRefused},
}

// KindOfProblem is the row of a name; nil for one that is not ours.
func KindOfProblem(name string) *ProblemKind {
	for i := range Problems {
		if Problems[i].Name == name {
			return &Problems[i]
		}
	}
	return nil
}

// NewProblem makes the body for one of the names of Problems.
func NewProblem(name, detail string) Problem {
	kind := KindOfProblem(name)
	if kind == nil {
		kind = KindOfProblem(ProblemInternal)
	}
	return Problem{Type: problemBase + kind.Name, Title: kind.Title, Status: kind.Status, Detail: detail, Retry: kind.Retry}
}

// kind is the problem's row of Problems; nil if it is not one of ours.
func (p Problem) kind() *ProblemKind {
	name, ours := strings.CutPrefix(p.Type, problemBase)
	if !ours {
		return nil
	}
	return KindOfProblem(name)
}

// Name is the problem's name in Problems; empty if it is not one of ours.
func (p Problem) Name() string {
	if kind := p.kind(); kind != nil {
		return kind.Name
	}
	return ""
}

// Error makes a Problem an error; it shows no more than the portal's own words.
func (p Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("portal: %.200s (%d)", p.Title, p.Status)
	}
	return fmt.Sprintf("portal: %.200s (%d): %.200s", p.Title, p.Status, p.Detail)
}

// ErrorCode is the agent's word for the problem; empty if it is not one of ours.
func (p Problem) ErrorCode() string {
	if kind := p.kind(); kind != nil {
		return string(kind.Code)
	}
	return ""
}

// ParseProblem reads an error body. It is one of ours only if the media type,
// the type's name and the status all fit the table; anything else is something
// in between that answered, and may change nothing (H04).
func ParseProblem(status int, contentType string, body []byte) (Problem, bool) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != ProblemContentType {
		return Problem{}, false
	}
	var problem Problem
	if err := Decode(body, MaxReply, &problem); err != nil {
		return Problem{}, false
	}
	kind := problem.kind()
	if kind == nil || kind.Status != status || problem.Status != status || Bound(&problem) != nil {
		return Problem{}, false
	}
	return problem, true
}

// Write sends the problem as the answer to a request.
func (p Problem) Write(w http.ResponseWriter) {
	body, err := Encode(p)
	if err != nil { // a Problem is strings and numbers
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", ProblemContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}
