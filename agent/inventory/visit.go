package inventory

import (
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"prlagent/agent/lane"
	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// visit is one pass over one account: its list, a query for each machine that
// is new or changed, and one look at the files in its bundles. It shares
// nothing that changes with the look that began it, because it may outlive it.
type visit struct {
	sources        *Sources
	lanes          *lane.Lanes
	log            *zerolog.Logger
	at             time.Time // of the look
	user           platform.User
	toolsRefused   protocol.Code // why the vendor's tools may not be run; empty = they may
	session        bool          // the user has one, and it can be entered
	runLimit       time.Duration // a query that takes longer is taken for one that hangs
	known          map[string]*Machine
	hung           bool   // a query did not end in its time
	outsideSession bool   // the session turned out not to be enterable
	unread         int    // virtual machines that could not be read
	preferences    string // see Account; empty if nobody has looked
}

// maxUnreadLines is how many of them a visit names in the log: a user can have a
// thousand.
const maxUnreadLines = 3

// visitOutcome is what a visit found.
type visitOutcome struct {
	at             time.Time
	recalled       bool                // it began with what was remembered of the account
	unused         bool                // nothing in this account shows that the product was ever used
	code           protocol.Code       // why it could not be listed; empty = it was
	doubt          protocol.Code       // what is wrong beside the list; empty = nothing
	machines       map[string]*Machine // by id
	found          []*Machine          // its machines, in the order of the list
	leftOut        int                 // virtual machines beyond the limit
	outsideSession bool                // as visit says
	preferences    string              // see Account; empty if nobody has looked
}

func (o *visitOutcome) isListed() bool { return o.code == "" && !o.unused }

func (v *visit) run(ctx context.Context) *visitOutcome {
	result := &visitOutcome{at: v.at, recalled: len(v.known) > 0, machines: make(map[string]*Machine)}
	if !v.session && len(v.known) == 0 && !v.hasTraces(ctx) {
		result.unused = true
		return result
	}
	if result.code = v.toolsRefused; result.code != "" {
		result.preferences = v.lookAtPreferences(ctx)
		return result
	}
	var listing prlctl.Listing
	err := v.runQuery(ctx, func(session bool) (err error) {
		listing, err = v.sources.Lister(v.user, session).List(ctx)
		return err
	})
	result.outsideSession = v.outsideSession
	if err != nil {
		v.log.Warn().Err(err).Str("user", v.user.Name).Msg("list virtual machines")
		result.code = codeOf(err)
		result.preferences = v.lookAtPreferences(ctx)
		return result
	}
	v.takeListing(ctx, &listing, result)
	if v.unread > maxUnreadLines {
		v.log.Warn().Str("user", v.user.Name).Int("machines", v.unread).Msg("more virtual machines are not read")
	}
	if err := v.readBundles(ctx, result.found); err != nil {
		v.log.Warn().Err(err).Str("user", v.user.Name).Msg("look at the bundles")
		result.doubt = codeOf(err)
	}
	result.preferences = v.preferences
	if len(listing.Unreadable) > 0 {
		result.doubt = protocol.CodeUnreadableVM
	}
	return result
}

// hasTraces reports whether the account may have used the product: what may not
// be looked at may be there.
func (v *visit) hasTraces(ctx context.Context) bool {
	questions := make([]platform.FileQuestion, len(prlctl.UsageTraces))
	for i, trace := range prlctl.UsageTraces {
		questions[i].Path = path.Join(v.user.Home, trace)
	}
	answers, _ := v.lookAtFiles(ctx, questions) // every answer has the error
	for i := range answers {
		if !isAbsent(answers[i].Err) {
			return true
		}
	}
	return false
}

// lookAtFiles has the user's own process look, when it is the user's turn.
func (v *visit) lookAtFiles(ctx context.Context, questions []platform.FileQuestion) (answers []platform.FileAnswer, err error) {
	answers = make([]platform.FileAnswer, len(questions))
	if len(questions) == 0 {
		return answers, nil
	}
	for i := range answers {
		answers[i].Err = errQueryHung // until it was asked
	}
	err = v.lanes.Run(ctx, v.user.UID, v.runLimit, func() (err error) {
		answers, err = v.sources.Files.LookAtFiles(ctx, v.user, questions)
		return err
	})
	return answers, err
}

// runQuery runs a query as the user, inside their session if they have one. That
// the way into a session works is inferred (facts/prlctl.md 5.4); where it
// fails for a reason of its own the vendor's own way is tried, without it. A
// machine that looks stopped from there and is not is found by its process.
func (v *visit) runQuery(ctx context.Context, query func(session bool) error) error {
	return v.lanes.Run(ctx, v.user.UID, v.runLimit, func() error {
		inside := v.session && !v.outsideSession
		err := query(inside)
		if err == nil || !inside || codeOf(err) != protocol.CodeToolFailed {
			return err
		}
		v.log.Warn().Err(err).Str("user", v.user.Name).Msg("ask from outside the user's session")
		v.outsideSession = true
		return query(false)
	})
}

// takeListing turns a listing into machines. One that the account no longer has
// is forgotten; one that cannot be read stays as it was known, and so does every
// one that may be the one without a name.
func (v *visit) takeListing(ctx context.Context, listing *prlctl.Listing, result *visitOutcome) {
	fresh := result.machines
	add := func(m *Machine) {
		fresh[m.VM.ID] = m
		result.found = append(result.found, m)
	}
	for _, vm := range v.limitListing(listing.VMs, result) {
		add(v.readMachine(ctx, vm, v.known[vm.ID]))
	}
	var nameless *prlctl.Unreadable
	for i := range listing.Unreadable {
		broken := &listing.Unreadable[i]
		m, had := v.known[broken.ID]
		if broken.ID == "" && nameless == nil {
			nameless = broken
		}
		switch {
		case broken.ID == "" || fresh[broken.ID] != nil || len(fresh) >= protocol.MaxVMs:
			continue
		case had:
			m.markStale(protocol.Code(broken.Code), v.at)
		default:
			m = unreadable(v.user, broken)
		}
		add(m)
	}
	if nameless != nil {
		var missing []string
		for id := range v.known {
			if fresh[id] == nil {
				missing = append(missing, id)
			}
		}
		slices.Sort(missing)
		for _, id := range missing {
			v.known[id].markStale(protocol.Code(nameless.Code), v.at)
			add(v.known[id])
		}
	}
}

// unreadable is a virtual machine of which nothing but its id was ever readable.
func unreadable(user platform.User, broken *prlctl.Unreadable) *Machine {
	code := protocol.Code(broken.Code)
	return &Machine{User: user, VM: *abridged(&prlctl.VM{ID: broken.ID}), Unreadable: code, Stale: code}
}

// limitListing is what is read of a listing: all of it, unless it alone is more
// than a report holds. Then it is cut, the known ones first, so that an account
// cannot make a look endless (H12).
func (v *visit) limitListing(vms []prlctl.VM, result *visitOutcome) []*prlctl.VM {
	var old, others []*prlctl.VM
	for i := range vms {
		if len(vms) <= protocol.MaxVMs || v.known[vms[i].ID] != nil {
			old = append(old, &vms[i])
		} else {
			others = append(others, &vms[i])
		}
	}
	all := append(old, others...)
	result.leftOut = max(0, len(all)-protocol.MaxVMs)
	return all[:len(all)-result.leftOut]
}

// readMachine makes the machine of a listed one: from memory where its
// configuration is what it was, else from a query by id, which alone names the
// bundle.
func (v *visit) readMachine(ctx context.Context, listed *prlctl.VM, old *Machine) *Machine {
	m := &Machine{FirstSeen: v.at.Truncate(time.Second)}
	if old != nil {
		*m = *old
	}
	m.User = v.user
	if hash := listed.ConfigHash(); old == nil || m.listed != hash || m.Bundle.Path == "" {
		full, err := v.queryVM(ctx, listed.ID)
		if err != nil {
			if v.unread++; v.unread <= maxUnreadLines {
				v.log.Warn().Err(err).Str("user", v.user.Name).Str("vm", listed.ID).Msg("read virtual machine")
			}
			full, hash = listed, "" // ask again at the next look
		} else if !agree(hash, full, old) {
			hash = ""
		}
		m.describe(full)
		m.listed = hash
		listed = full // it says more than the bulk list, and later
	}
	m.observe(listed)
	m.needsConfig = v.sources.NeedsConfig != nil && v.sources.NeedsConfig(&m.VM)
	m.needsSpace = v.sources.NeedsSpace != nil && v.sources.NeedsSpace(&m.VM)
	return m
}

// agree reports whether what a query by id said goes with what the bulk list said
// before. If not, the machine was changed in between, and may have been changed
// back since: then the list would go on saying the same, and nobody would ask
// again. Or the list is incomplete (facts/prlctl.md 2.1): then a second query says
// what the first one did.
func agree(listed string, full *prlctl.VM, old *Machine) bool {
	return full.ConfigHash() == listed || old != nil && old.listed == "" && old.ConfigHash == full.ConfigHash()
}

// errQueryHung is a query that is not made.
var errQueryHung = errors.New("a query of this user has hung before in this look")

// queryVM queries one virtual machine. A user can stop a program that runs as
// them, so after one that did not end in its time no other is started for them:
// a look costs at most one time limit more for each user (H12).
func (v *visit) queryVM(ctx context.Context, id string) (*prlctl.VM, error) {
	if v.hung {
		return nil, errQueryHung
	}
	var vm prlctl.VM
	err := v.lanes.Run(ctx, v.user.UID, v.runLimit, func() (err error) {
		vm, err = v.sources.Lister(v.user, v.session && !v.outsideSession).Get(ctx, id)
		return err
	})
	v.hung = lane.IsHang(err)
	return &vm, err
}

// readBundles takes what the files in the bundles say and the tool does not
// (facts/prlctl.md 2.9), and how the account's preferences lie there: one look for all
// of them. What cannot be read now
// stays as it was.
func (v *visit) readBundles(ctx context.Context, found []*Machine) error {
	var seen []*Machine
	var questions []platform.FileQuestion
	for _, m := range found {
		if m.Stale != "" {
			continue
		}
		seen = append(seen, m)
		questions = append(questions, m.fileQuestions()...)
	}
	if v.needsPreferences() {
		questions = append(questions, v.preferenceQuestion())
	}
	answers, err := v.lookAtFiles(ctx, questions)
	for _, m := range seen {
		asked := len(m.fileQuestions())
		m.takeFiles(answers[:asked], v.at)
		answers = answers[asked:]
	}
	if len(answers) > 0 {
		v.preferences = preferencesState(&answers[0])
	}
	return errors.Join(err, v.readConfigs(ctx, seen))
}
