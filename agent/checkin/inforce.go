package checkin

import (
	"fmt"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
	"prlagent/store"
)

// dictionaryKey is where policyRecords has the last policy of the configuration
// that decided what is in force, pointer and document alone. It is kept so that a
// configuration that has none any more, or one that cannot be used, releases
// nothing.
const dictionaryKey = "configuration"

// Content gives the last good policy, and why there is nothing newer. A policy of
// the configuration wins over signed ones.
func (c *Client) Content() *policy.Content {
	var record, kept policyRecord
	var problem contentProblem
	var found, isKept bool
	err := c.options.Store.View(func(tx *store.Tx) (err error) {
		if found, err = policyRecords.Get(tx, onlyKey, &record); err != nil {
			return err
		}
		if isKept, err = policyRecords.Get(tx, dictionaryKey, &kept); err != nil {
			return err
		}
		_, err = contentProblems.Get(tx, onlyKey, &problem)
		return err
	})
	now := &c.options.Policy
	switch {
	case now.Decides():
		return dictionaryContent(&now.Pointer, now.Document, "")
	case err != nil:
		return &policy.Content{Unreadable: true, Code: protocol.CodeOf(err)}
	case now.Refused && isKept:
		return dictionaryContent(&kept.Pointer, kept.Document, protocol.CodeConfigInvalid)
	case now.Refused:
		problem.Code = protocol.CodeConfigInvalid
	case isKept && !(found && c.options.hasHeads()):
		return dictionaryContent(&kept.Pointer, kept.Document, protocol.CodePolicyKeyGone)
	}
	switch {
	case !found && !now.Refused && len(c.options.PolicyKeys) == 0:
		return &policy.Content{Code: protocol.CodeNoPolicyKeys}
	case !found:
		return &policy.Content{Code: problem.Code}
	}
	return c.contentOf(&record, problem.Code)
}

func (c *Client) contentOf(record *policyRecord, code protocol.Code) *policy.Content {
	now, head := c.expiryTime(), &record.Head
	content := &policy.Content{
		Verified: true, Source: policy.FromHead, HeadVersion: head.HeadVersion, Mode: head.Mode, Released: record.isReleased(),
		ExpiresAt: head.ExpiresAt, Expired: !now.Before(head.ExpiresAt), ExpiresSoon: !now.Add(policy.ExpiryNotice).Before(head.ExpiresAt), Code: code,
	}
	content.Pointer, content.Document = record.inForce()
	if record.Candidate != nil {
		content.CandidatePercent = head.Candidate.Percent
	}
	return content
}

func dictionaryContent(pointer *protocol.PolicyPointer, document []byte, code protocol.Code) *policy.Content {
	if document == nil {
		code = "" // nothing stays in force
	}
	return &policy.Content{Verified: true, Source: policy.FromConfiguration, Pointer: *pointer, Document: document, Released: document == nil, Code: code}
}

// keepDictionary stores the policy of the configuration, and forgets it once
// signed ones have taken its place.
func (c *Client) keepDictionary() error {
	now := &c.options.Policy
	kept, was, err := c.keptDictionary()
	if err != nil {
		return err
	}
	replaced := false
	if was && !now.Given && c.options.hasHeads() {
		_, replaced, err = c.storedPolicy()
	}
	switch {
	case err != nil:
		return err
	case replaced:
		err = c.options.Store.Update(func(tx *store.Tx) error { return policyRecords.Delete(tx, dictionaryKey) })
	case now.Decides() && (!was || kept.Pointer != now.Pointer):
		err = c.options.Store.Update(func(tx *store.Tx) error {
			return policyRecords.Put(tx, dictionaryKey, &policyRecord{Pointer: now.Pointer, Document: now.Document})
		})
	}
	if err != nil {
		return fmt.Errorf("keep the policy of the configuration: %w", err)
	}
	return nil
}

func (c *Client) keptDictionary() (kept *policyRecord, found bool, err error) {
	kept = &policyRecord{}
	found, err = policyRecords.Load(c.options.Store, dictionaryKey, kept)
	return kept, found, err
}
