package checkin

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// policyRecord is the last verified head and the last policy that one pinned.
type policyRecord struct {
	Group     string                 `json:"group"`
	Head      protocol.Head          `json:"head"`
	ETag      string                 `json:"etag,omitempty"` // of the head
	Pointer   protocol.PolicyPointer `json:"pointer"`        // to Document
	Document  []byte                 `json:"document,omitempty"`
	Candidate *candidateRecord       `json:"candidate,omitempty"` // that the head names and this Mac takes
	FetchedAt time.Time              `json:"fetched_at"`
}

// isReleased reports whether the head says, signed, that this Mac has no policy.
func (r *policyRecord) isReleased() bool { return r.Head.Policy == nil && r.Candidate == nil }

// markRecord is the highest head of a group that ever verified, and who signed
// it: it counts as long as one of them is trusted. A key that was stolen could
// else keep every head of its successors out with one high number.
type markRecord struct {
	HeadVersion uint64   `json:"head_version"`
	SHA256      string   `json:"sha256"` // of the head's payload
	KeyIDs      []string `json:"key_ids"`
}

// siteRecord pins the site at the first verified head. KeyIDs are the policy
// keys that were trusted then.
type siteRecord struct {
	SiteID string   `json:"site_id"`
	KeyIDs []string `json:"key_ids"`
}

// contentProblem is why the last look for content did not bring what it should.
type contentProblem struct {
	Code protocol.Code `json:"code,omitempty"`
}

var (
	siteRecords     = store.Collection[*siteRecord]{Name: "content_site"}
	headMarks       = store.Collection[*markRecord]{Name: "content_mark"} // key: markKey
	policyRecords   = store.Collection[*policyRecord]{Name: "content_policy"}
	contentProblems = store.Collection[*contentProblem]{Name: "content_finding"}
)

func markKey(site, group string) string { return marksOfSite(site) + strconv.Quote(group) }

// marksOfSite is how the keys of a site's marks begin.
func marksOfSite(site string) string { return strconv.Quote(site) + " " }

// errExpired: a head that is past its time is no reason to change anything.
var errExpired = errors.New("head has expired")

// contentCodes says which code each refusal of content has.
var contentCodes = []struct {
	cause *error
	code  protocol.Code
}{
	{&protocol.ErrSignature, protocol.CodeHeadSignature},
	{&protocol.ErrWrongSite, protocol.CodeHeadWrongSite},
	{&protocol.ErrWrongGroup, protocol.CodeHeadWrongGroup},
	{&protocol.ErrRollback, protocol.CodeRollbackDetected},
	{&protocol.ErrHeadConflict, protocol.CodeHeadInvalid},
	{&protocol.ErrEnvelopeInvalid, protocol.CodeHeadInvalid},
	{&protocol.ErrPayloadType, protocol.CodeHeadInvalid},
	{&protocol.ErrHeadInvalid, protocol.CodeHeadInvalid},
	{&protocol.ErrPolicyHash, protocol.CodePolicyHash},
	{&policy.ErrUnsupported, protocol.CodeUnsupportedFeature},
	{&policy.ErrInvalid, protocol.CodePolicyInvalid},
	{&errExpired, protocol.CodeContentStale},
}

func contentCode(err error) protocol.Code {
	for _, row := range contentCodes {
		if errors.Is(err, *row.cause) {
			return row.code
		}
	}
	return cmp.Or(protocol.CodeOf(err), protocol.CodeInternal)
}

// refreshContent asks for the head where the hint says that there may be a
// newer one. What goes wrong changes nothing but the content's problem: the
// last good policy stays (protocol.md 2.1). Only the store's errors end the
// exchange.
func (e *exchange) refreshContent(hint *protocol.Hint) error {
	if e.client.options.ContentFolder != "" {
		return e.refreshFolder(true)
	}
	group := e.client.groupOf(&e.record).ID
	stored, found, err := e.client.storedPolicy()
	if err != nil {
		return err
	}
	if !e.client.options.hasHeads() || group == "" {
		return nil
	}
	if !e.headIsDue(hint, stored, found, group) && !e.anew.head {
		if hint == nil {
			return nil
		}
		return e.recordContentProblem("", "") // the portal serves what is stored
	}
	e.client.askedGroup = group
	err = e.fetchContent(stored, group)
	if store.Failed(err) {
		return err
	}
	if err == nil {
		e.anew.head = false
		return e.recordContentProblem("", "")
	}
	e.outcome.Code, e.outcome.Detail = contentCode(err), e.client.explainError(err)
	return e.recordContentProblem(e.outcome.Code, e.outcome.Detail)
}

// mayStillHaveContent are the failures of a report after which the portal, or the
// host of its content, may well have a policy: nothing that a user writes into a
// report may keep a policy away, be it what the portal refuses or what something
// before it takes offence at, which answers in its place or breaks the line (H51).
var mayStillHaveContent = []protocol.Code{
	protocol.CodeReportTooLarge, protocol.CodePortalRefused, protocol.CodeSequenceConflict, protocol.CodePortalOutage, protocol.CodeInternal,
	protocol.CodePortalInterrupted, protocol.CodePortalTimeout, protocol.CodePortalReplyInvalid, protocol.CodePortalReplyTooLarge,
	protocol.CodePortalWebPage, protocol.CodePortalRedirect,
}

// refreshContentAnyway asks for the head although the report did not arrive. Of
// a head that is not served nothing is said: the report's failure is the news.
func (e *exchange) refreshContentAnyway(failure error) error {
	if e.client.options.ContentFolder != "" {
		return e.refreshFolder(true)
	}
	group := e.client.groupOf(&e.record).ID
	if !slices.Contains(mayStillHaveContent, protocol.CodeOf(failure)) || !e.client.options.hasHeads() || group == "" {
		return nil
	}
	stored, _, err := e.client.storedPolicy()
	if err != nil {
		return err
	}
	err = e.fetchContent(stored, group)
	var unserved *exchangeError
	switch {
	case errors.As(err, &unserved):
		return nil
	case err == nil:
		return e.recordContentProblem("", "")
	case store.Failed(err):
		return err
	}
	return e.recordContentProblem(contentCode(err), e.client.explainError(err))
}

// headIsDue reports whether to ask: if the hint differs from what is stored, or
// nothing is stored for the group. Without a hint that is asked once per start:
// a portal that serves content would have given one.
func (e *exchange) headIsDue(hint *protocol.Hint, stored *policyRecord, found bool, group string) bool {
	if !found || stored.Group != group {
		return hint != nil || e.client.askedGroup != group
	}
	if hint == nil {
		return false
	}
	var pinned string
	if stored.Head.Policy != nil {
		pinned = stored.Head.Policy.SHA256
	}
	return hint.HeadVersion != stored.Head.HeadVersion || hint.SHA256 != pinned || e.isIncomplete(stored)
}

// fetchContent gets, judges and stores the group's head and its policy.
func (e *exchange) fetchContent(stored *policyRecord, group string) error {
	var etag string
	if stored.Group == group && !e.isIncomplete(stored) {
		etag = usableETag(stored.ETag)
	}
	got, err := e.getContent(etag, protocol.MaxHead, "heads", group+".dsse.json")
	if err != nil {
		return err
	}
	switch {
	case got.status == http.StatusNotModified && etag != "":
		return nil
	case got.status == http.StatusNotFound:
		return withCode(protocol.CodeHeadMissing, errors.New("there is no head for this group"))
	case got.status != http.StatusOK:
		return e.client.refusalError(got)
	}
	verified, err := e.verifyHead(got.body, group)
	if err != nil {
		return err
	}
	next := &policyRecord{Group: group, Head: verified.head, ETag: usableETag(got.header.Get("ETag")), FetchedAt: e.client.options.Now().UTC()}
	next.Pointer, next.Document = stored.inForce()
	if pointer := verified.head.Policy; pointer != nil {
		next.Pointer = *pointer
		next.Document, err = e.policyFor(pointer, stored)
	}
	if err != nil {
		return errors.Join(err, e.storeHead(verified, nil))
	}
	failure := e.takeCandidate(next, stored)
	if err := e.storeHead(verified, next); err != nil {
		return err
	}
	e.outcome.ContentChanged = !stored.demandsTheSame(next)
	return failure
}

// usableETag is a validator that is worth being sent back, else nothing: with one
// that no server takes, as a long one, every later request would be refused, and
// that for good (H52).
func usableETag(etag string) string {
	if !plainText(etag) {
		return ""
	}
	return etag
}

// getContent gets a file. Web servers name its type as they like; a page is
// what they call none of ours.
func (e *exchange) getContent(etag string, limit int, folder, name string) (*portalAnswer, error) {
	if e.client.options.ContentFolder != "" {
		return e.client.readContent(limit, folder, name)
	}
	got, err := e.client.sendRequest(e.ctx, &portalRequest{
		method: http.MethodGet, url: e.client.options.ContentURL.JoinPath(folder, url.PathEscape(name)),
		token: e.client.currentIdentity().token, etag: etag, limit: limit,
	})
	if err == nil && got.status == http.StatusOK && errors.Is(got.checkMedia(), errWebPage) {
		return nil, replyError(errWebPage)
	}
	return got, err
}

// verifiedHead is a head that may be acted on, and what it was pinned with.
type verifiedHead struct {
	head protocol.Head
	mark markRecord
}

// verifyHead verifies first and reads the verified bytes only; then it compares
// with what this Mac has seen before (protocol.md 2.4).
func (e *exchange) verifyHead(data []byte, group string) (*verifiedHead, error) {
	envelope, err := protocol.ParseEnvelope(data, protocol.MaxHead)
	if err != nil {
		return nil, err
	}
	envelope.PayloadType = e.client.secrets().Redact(envelope.PayloadType) // an error quotes it
	payload, err := envelope.Verify(protocol.PayloadHead, e.client.options.PolicyKeys, 1)
	if err != nil {
		return nil, err
	}
	head, err := protocol.ParseHead(payload)
	if err != nil {
		return nil, err
	}
	if site := e.client.options.SiteID; site != "" && !strings.EqualFold(site, head.SiteID) {
		return nil, protocol.ErrWrongSite
	}
	if head.GroupID != group {
		return nil, protocol.ErrWrongGroup
	}
	sum := sha256.Sum256(payload)
	verified := &verifiedHead{head: head, mark: markRecord{
		HeadVersion: head.HeadVersion, SHA256: hex.EncodeToString(sum[:]), KeyIDs: e.signersOf(&envelope),
	}}
	if err := e.compareWithSeen(verified); err != nil {
		return nil, err
	}
	if !e.client.expiryTime().Before(head.ExpiresAt) {
		return nil, errExpired
	}
	return verified, nil
}

// signersOf are the trusted keys that signed a head.
func (e *exchange) signersOf(envelope *protocol.Envelope) []string {
	var ids []string
	for _, key := range e.client.options.PolicyKeys {
		if _, err := envelope.Verify(protocol.PayloadHead, []protocol.TrustedKey{key}, 1); err == nil {
			ids = append(ids, key.ID)
		}
	}
	return ids
}

func (e *exchange) compareWithSeen(verified *verifiedHead) error {
	return e.client.options.Store.View(func(tx *store.Tx) error {
		var site siteRecord
		pinned, err := siteRecords.Get(tx, onlyKey, &site)
		if err != nil {
			return err
		}
		if pinned && site.SiteID != verified.head.SiteID && e.stillTrusts(site.KeyIDs) || e.hasMarkOfOtherSite(verified.head.SiteID) {
			return protocol.ErrWrongSite
		}
		key := markKey(verified.head.SiteID, verified.head.GroupID)
		var seen markRecord
		if _, err := headMarks.Get(tx, key, &seen); err != nil {
			return err
		}
		if err := e.compareWithMark(&verified.mark, &seen); err != nil {
			return err
		}
		seen = e.client.currentIdentity().marks[key]
		return e.compareWithMark(&verified.mark, &seen)
	})
}

// hasMarkOfOtherSite reports whether node.json has the mark of another site's
// head: the site is pinned there, too, and outlives the store (H65).
func (e *exchange) hasMarkOfOtherSite(site string) bool {
	for key, seen := range e.client.currentIdentity().marks {
		if !strings.HasPrefix(key, marksOfSite(site)) && e.stillTrusts(seen.KeyIDs) {
			return true
		}
	}
	return false
}

func (e *exchange) compareWithMark(mark, seen *markRecord) error {
	switch {
	case !e.stillTrusts(seen.KeyIDs):
		return nil
	case mark.HeadVersion < seen.HeadVersion:
		return fmt.Errorf("%w: %d after %d", protocol.ErrRollback, mark.HeadVersion, seen.HeadVersion)
	case mark.HeadVersion == seen.HeadVersion && mark.SHA256 != seen.SHA256:
		return protocol.ErrHeadConflict
	}
	return nil
}

// isBehindMark reports whether this Mac has seen a newer head than the stored
// one, as after the store was restored from a backup (H65).
func (e *exchange) isBehindMark(stored *policyRecord) bool {
	seen := e.client.currentIdentity().marks[markKey(stored.Head.SiteID, stored.Group)]
	return e.stillTrusts(seen.KeyIDs) && seen.HeadVersion > stored.Head.HeadVersion
}

// stillTrusts reports whether the Mac's configuration has any of the keys. A site
// can be left only by replacing all of them: then the administrator has moved
// the Mac to another site.
func (e *exchange) stillTrusts(ids []string) bool {
	for _, key := range e.client.options.PolicyKeys {
		if slices.Contains(ids, key.ID) {
			return true
		}
	}
	return false
}

// shareMarks gives node.json the marks that only the store has, as after node.json
// was lost or restored: else both could be lost one after the other (H65). The
// other way round it takes a head that is fetched anew.
func (e *exchange) shareMarks() error {
	who, changed := e.client.currentIdentity(), false
	err := e.client.options.Store.View(func(tx *store.Tx) error {
		return headMarks.Each(tx, func(key string, seen *markRecord) error {
			if e.stillTrusts(seen.KeyIDs) && seen.HeadVersion > who.marks[key].HeadVersion {
				next, news := who.withMark(key, seen, e.stillTrusts)
				who, changed = next, changed || news
			}
			return nil
		})
	})
	if err != nil || !changed {
		return err
	}
	if err := e.client.adoptIdentity(who); err != nil { // no reason not to talk
		e.client.options.Log.Warn().Err(err).Msg("node.json does not have the marks of heads")
	}
	return nil
}

// policyFor gives the document that the pointer pins: a stored one, or one that
// is fetched, checked and readable.
func (e *exchange) policyFor(pointer *protocol.PolicyPointer, stored *policyRecord) ([]byte, error) {
	document := stored.Document
	if stored.Candidate != nil && pointer.CheckPolicy(document) != nil {
		document = stored.Candidate.Document
	}
	if pointer.CheckPolicy(document) != nil {
		got, err := e.getContent("", pointer.Size, "policies", pointer.SHA256+".json")
		if errors.Is(err, protocol.ErrTooLarge) {
			return nil, fmt.Errorf("%w: it is longer than the head says", protocol.ErrPolicyHash)
		}
		if err != nil {
			return nil, err
		}
		if got.status != http.StatusOK {
			return nil, e.client.refusalError(got)
		}
		document = got.body
	}
	if err := pointer.CheckPolicy(document); err != nil {
		return nil, err
	}
	parsed, err := policy.Parse(document)
	if err != nil {
		return nil, err
	}
	if parsed.PolicyID != pointer.PolicyID || parsed.Revision != pointer.Revision {
		return nil, fmt.Errorf("%w: it is not the one that the head names", policy.ErrInvalid)
	}
	return document, nil
}

// storeHead notes that the head was seen, in node.json first, which outlives the
// store (H65); and, if its policy is at hand, makes it the one in force.
func (e *exchange) storeHead(verified *verifiedHead, next *policyRecord) error {
	key := markKey(verified.head.SiteID, verified.head.GroupID)
	if who, changed := e.client.currentIdentity().withMark(key, &verified.mark, e.stillTrusts); changed {
		if err := e.client.adoptIdentity(who); err != nil {
			return withCode(protocol.CodeIdentityUnreadable, err)
		}
	}
	site := siteRecord{SiteID: verified.head.SiteID}
	for _, key := range e.client.options.PolicyKeys {
		site.KeyIDs = append(site.KeyIDs, key.ID)
	}
	err := e.client.options.Store.Update(func(tx *store.Tx) error {
		err := errors.Join(
			siteRecords.Put(tx, onlyKey, &site),
			headMarks.Put(tx, key, &verified.mark))
		if next != nil {
			err = errors.Join(err, policyRecords.Put(tx, onlyKey, next))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("store head: %w", err)
	}
	return nil
}

// recordContentProblem stores why the content is not what it should be, empty
// for no reason; a new one is an event.
func (e *exchange) recordContentProblem(code protocol.Code, detail string) error {
	var before contentProblem
	err := e.client.options.Store.Update(func(tx *store.Tx) error {
		var err error
		if _, err = contentProblems.Get(tx, onlyKey, &before); err != nil || before.Code == code {
			return err
		}
		return contentProblems.Put(tx, onlyKey, &contentProblem{Code: code})
	})
	if err != nil {
		return fmt.Errorf("store content problem: %w", err)
	}
	if code != "" && code != before.Code {
		e.addEvent(code, map[string]string{"detail": detail})
	}
	return nil
}

// storedPolicy is the last head with its policy; an empty one if none was found.
func (c *Client) storedPolicy() (record *policyRecord, found bool, err error) {
	record = &policyRecord{}
	found, err = policyRecords.Load(c.options.Store, onlyKey, record)
	return record, found, err
}
