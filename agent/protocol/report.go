package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Report is everything that one look at the Mac found, as the portal should
// know it. It holds no time of the look itself, so two looks that found the
// same are the same Report.
type Report struct {
	Agent     AgentInfo
	Host      Host
	Product   Product
	Users     []UserLook
	Policy    PolicyReport
	Verdicts  VerdictReport // SHA256, VMs, Groups and LeftOut of it
	Health    HealthReport
	VMs       []VM // at most MaxVMs
	Truncated bool
}

// Baseline is what the portal has acknowledged: hashes only, so that it can be
// kept in the store and compared without keeping a second inventory.
type Baseline struct {
	Hash  string            `json:"hash"`
	Parts map[string]string `json:"parts"` // name of a part -> hash
	VMs   map[string]VMMark `json:"vms"`   // VMKey.String() -> mark
	// Verdicts are marks of the verdicts on each machine, and with an empty name of
	// those on the policy as a whole.
	Verdicts map[string]VMMark `json:"verdicts,omitempty"`
}

// VMMark is one acknowledged row, or the verdicts on one machine: its key, to name
// it when it is gone, and the hash.
type VMMark struct {
	Key  VMKey  `json:"key"`
	Hash string `json:"hash"`
}

// reportPart is one section of a report beside its rows: one row of this table
// says how it is hashed and how it is put into a request.
type reportPart struct {
	name  string
	value func(*Report) any
	put   func(*CheckinRequest, *Report)
}

var reportParts = []reportPart{
	{"agent", func(r *Report) any { return r.Agent }, func(q *CheckinRequest, r *Report) { q.Agent = &r.Agent }},
	{"host", func(r *Report) any { return r.Host }, func(q *CheckinRequest, r *Report) { q.Host = &r.Host }},
	{"product", func(r *Report) any { return r.Product }, func(q *CheckinRequest, r *Report) { q.Product = &r.Product }},
	{"users", func(r *Report) any { return r.Users }, func(q *CheckinRequest, r *Report) { q.Users = append([]UserLook{}, r.Users...) }},
	{"policy", func(r *Report) any { return r.Policy }, func(q *CheckinRequest, r *Report) { q.Policy = &r.Policy }},
	{"health", func(r *Report) any { return r.Health }, func(q *CheckinRequest, r *Report) { q.Health = &r.Health }},
}

// Baseline hashes the report part by part.
func (r *Report) Baseline() (Baseline, error) {
	base := Baseline{Parts: make(map[string]string, len(reportParts)), VMs: make(map[string]VMMark, len(r.VMs))}
	for _, part := range reportParts {
		hash, err := hashJSON(part.value(r))
		if err != nil {
			return Baseline{}, fmt.Errorf("hash %s: %w", part.name, err)
		}
		base.Parts[part.name] = hash
	}
	base.Verdicts = r.Verdicts.marks()
	base.Parts[verdictPart] = hashMarks(base.Verdicts)
	for i := range r.VMs {
		vm := &r.VMs[i]
		hash, err := hashJSON(vm)
		if err != nil {
			return Baseline{}, fmt.Errorf("hash row: %w", err)
		}
		base.VMs[vm.VMKey.String()] = VMMark{Key: vm.VMKey, Hash: hash}
	}
	base.Hash = base.totalHash(r.Truncated)
	return base, nil
}

// totalHash is the hash over all others, in an order that does not depend on
// maps.
func (b Baseline) totalHash(truncated bool) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(b.Parts)) {
		fmt.Fprintf(sum, "%s=%s\n", name, b.Parts[name])
	}
	for _, key := range slices.Sorted(maps.Keys(b.VMs)) {
		fmt.Fprintf(sum, "%q=%s\n", key, b.VMs[key].Hash)
	}
	fmt.Fprintf(sum, "truncated=%t\n", truncated)
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// Fill puts into request what the portal does not have yet, judged by base,
// the report it acknowledged last. An empty base sends everything, and so does
// one that was kept before keys had a uid: its rows cannot be named any more. The
// result is the baseline to keep once this request is acknowledged.
func (r *Report) Fill(request *CheckinRequest, base Baseline) (Baseline, error) {
	now, err := r.Baseline()
	if err != nil {
		return Baseline{}, err
	}
	if base.isOlder() {
		base = Baseline{}
	}
	request.Inventory = Inventory{Hash: now.Hash}
	if now.Hash == base.Hash {
		return now, nil
	}
	request.Inventory.Truncated = r.Truncated
	request.Inventory.Base = base.Hash
	request.Inventory.Full = base.Hash == ""
	for _, part := range reportParts {
		if now.Parts[part.name] != base.Parts[part.name] {
			part.put(request, r)
		}
	}
	request.Verdicts = r.Verdicts.delta(now, base)
	for i := range r.VMs {
		vm := &r.VMs[i]
		key := vm.VMKey.String()
		if now.VMs[key].Hash != base.VMs[key].Hash {
			request.Inventory.VMs = append(request.Inventory.VMs, *vm)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(base.VMs)) {
		if _, still := now.VMs[key]; !still {
			request.Inventory.Removed = append(request.Inventory.Removed, base.VMs[key].Key)
		}
	}
	return now, nil
}

// isOlder reports whether the baseline was kept before keys had a uid.
func (b Baseline) isOlder() bool {
	for _, mark := range b.VMs {
		if mark.Key.UID == 0 {
			return true
		}
	}
	return false
}

// hashJSON is the first 32 hex digits of the SHA-256 of v as JSON; maps are
// encoded in key order, so equal values have equal hashes.
func hashJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:32], nil
}
