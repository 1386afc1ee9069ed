package cli

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/content"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/tree"
	"prlagent/platform/text"
)

// contentOptions say where content is published, and what signs it: the operator's
// folder, and a portal or a folder that a web server serves.
type contentOptions struct {
	admin  adminOptions
	out    string
	dryRun bool
	asJSON bool
	signs  bool
}

func (o *contentOptions) addFlags(command *cobra.Command) {
	o.admin.addFlags(command)
	flags := command.Flags()
	flags.StringVar(&o.out, "out", "", "work on this folder, which any web server can serve, and not on a portal")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
}

func (o *contentOptions) addSigningFlags(command *cobra.Command) {
	o.addFlags(command)
	o.signs = true
	command.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would change, and sign nothing")
}

// fleetStatus says what Macs report, and what a change would do to them; nil where
// only a folder is known.
type fleetStatus interface {
	PolicyStatus(ctx context.Context) (fleet.PolicyStatus, error)
	Diff(ctx context.Context, asked adminapi.DiffRequest) (fleet.Difference, error)
}

// workplace is what a command that signs works with.
type workplace struct {
	store     content.Store
	status    fleetStatus
	signer    content.Signer
	published content.Published
	state     content.State
	close     func()

	folder   string // the operator's
	place    string // what the versions of heads are kept by
	versions site.HeadVersions
	recorded []string // hashes of the policies that were published
	headKeys site.HeadKeys
	deleted  []string // ids of the policies that ended for good
}

// open finds the operator's keys and what is published. Where something may be signed,
// nobody else signs before the workplace is closed.
func (o *contentOptions) open(ctx context.Context) (*workplace, error) {
	folder, err := operatorFolder(o.admin.dir)
	if err != nil {
		return nil, err
	}
	if !o.signs || o.dryRun {
		return o.openFolder(ctx, folder)
	}
	unlock, err := site.LockSigning(ctx, folder)
	if err != nil {
		return nil, err
	}
	w, err := o.openFolder(ctx, folder)
	if err != nil {
		unlock()
		return nil, err
	}
	disconnect := w.close
	w.close = func() { disconnect(); unlock() }
	return w, nil
}

func (o *contentOptions) openFolder(ctx context.Context, folder string) (*workplace, error) {
	operator, err := site.LoadOperatorSite(folder)
	if err != nil {
		return nil, err
	}
	keys, err := site.LoadPolicyKeys(folder)
	if err != nil {
		return nil, err
	}
	retired, err := site.LoadRetiredPolicyKey(folder)
	if err != nil {
		return nil, err
	}
	w := &workplace{signer: content.Signer{SiteID: operator.SiteID, Keys: keys, Retired: retired, Now: time.Now()}, folder: folder, place: site.PortalPlace}
	if w.versions, err = site.LoadHeadVersions(folder); err != nil {
		return nil, err
	}
	if w.recorded, err = site.LoadSignedPolicies(folder); err != nil {
		return nil, err
	}
	if w.headKeys, err = site.LoadHeadKeys(folder); err != nil {
		return nil, err
	}
	if w.deleted, err = site.LoadDeletedPolicies(folder); err != nil {
		return nil, err
	}
	if err := w.connect(o); err != nil {
		return nil, err
	}
	if w.published, err = w.store.Published(ctx); err == nil {
		w.state, err = w.verify()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.state.Recall(w.versions[w.place], w.recorded)
	w.state.Deleted = w.deleted
	return w, nil
}

// verify reads what is published. A key that was replaced counts until all heads have
// the signature of the one after it: from then on a head that only the old key signed is
// as if it were not there, be it from a backup or of whoever stole that key.
func (w *workplace) verify() (content.State, error) {
	keys, published := site.PublicHalves(w.signer.Keys), w.published
	known := keys
	if w.signer.Retired != nil {
		known = append(slices.Clone(keys), site.PublicHalves([]ed25519.PrivateKey{w.signer.Retired})...)
	}
	if w.headKeys[w.place] == protocol.KeyID(keys[0]) {
		if _, err := published.Verify(w.signer.SiteID, known); err != nil {
			return content.State{}, err
		}
		published = published.SignedBy(keys)
	}
	return published.Verify(w.signer.SiteID, known)
}

func (w *workplace) connect(o *contentOptions) error {
	if o.out == "" {
		client, err := o.admin.openClient()
		if err != nil {
			return err
		}
		w.store, w.status, w.close = client, client, client.Close
		return nil
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	place, err := filepath.Abs(o.out)
	if err != nil {
		return fmt.Errorf("find folder: %w", err)
	}
	w.place = place
	root, err := os.OpenRoot(o.out)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	w.store, w.close = content.NewFolder(root), func() { _ = root.Close() }
	return nil
}

// finish signs a change and publishes it, or says what it would be.
func (w *workplace) finish(ctx context.Context, o *contentOptions, out io.Writer, change content.Change) error {
	if !o.dryRun && !change.IsEmpty() {
		upload, err := w.signer.Sign(change, w.published)
		if err != nil {
			return err
		}
		if err := w.store.Add(ctx, upload); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if !o.dryRun {
		if err := w.keepRecord(change); err != nil {
			return err
		}
	}
	if o.asJSON {
		return printJSON(out, map[string]any{"dry_run": o.dryRun, "policies": len(change.Policies), "groups": append([]content.Step{}, change.Steps...)})
	}
	return printChange(out, change, o.dryRun)
}

// keepRecord remembers what was taken in, and what was found to be signed, as by an
// upload of which only the answer was lost. What was not taken in may be signed again
// under the same version: nobody has seen it.
func (w *workplace) keepRecord(change content.Change) error {
	signed, policies := maps.Clone(w.state.Signed), maps.Clone(w.state.Policies)
	for _, head := range change.Heads {
		signed[head.GroupID] = head.HeadVersion
	}
	for _, data := range change.Policies {
		policies[protocol.PointTo("", 0, data).SHA256] = true
	}
	if !maps.Equal(signed, w.versions[w.place]) {
		w.versions[w.place] = signed
		if err := w.versions.Save(w.folder); err != nil {
			return err
		}
	}
	if err := w.keepKey(change); err != nil || len(policies) == len(w.recorded) {
		return err
	}
	return site.SaveSignedPolicies(w.folder, slices.Collect(maps.Keys(policies)))
}

// keepKey remembers the key that signs, once it has signed all heads.
func (w *workplace) keepKey(change content.Change) error {
	keys := site.PublicHalves(w.signer.Keys)
	signed := make(map[string]bool)
	for _, head := range change.Heads {
		signed[head.GroupID] = true
	}
	for _, head := range w.published.SignedBy(keys[:1]).Heads {
		signed[head.GroupID] = true
	}
	for _, head := range w.published.Heads {
		if !signed[head.GroupID] {
			return nil
		}
	}
	if id := protocol.KeyID(keys[0]); w.headKeys[w.place] != id {
		w.headKeys[w.place] = id
		return w.headKeys.Save(w.folder)
	}
	return nil
}

// keepDeleted remembers which policies ended for good.
func (w *workplace) keepDeleted(ids []string) error {
	if len(ids) == len(w.deleted) { // all that were there before are among them
		return nil
	}
	return site.SaveDeletedPolicies(w.folder, slices.Compact(slices.Sorted(slices.Values(ids))))
}

func printChange(w io.Writer, change content.Change, dryRun bool) error {
	table := text.Table{Heads: []string{"Group", "", "Before", "Policy", "Candidate", "Mode"}}
	for _, step := range change.Steps {
		candidate := step.Candidate
		if candidate != "" {
			candidate = fmt.Sprintf("%s for %d %%", candidate, step.Percent)
		}
		table.Rows = append(table.Rows, []string{step.Group, string(step.What), orEmpty(step.Before), orEmpty(step.After), orEmpty(candidate), orEmpty(step.Mode)})
	}
	done := fmt.Sprintf("Published %s and %s.\n", policyCount(change), countOf(len(change.Heads), "head"))
	switch {
	case change.IsEmpty():
		done = "Nothing has changed, and nothing was signed.\n"
	case dryRun:
		done = fmt.Sprintf("This would publish %s and %s. Nothing was signed.\n", policyCount(change), countOf(len(change.Heads), "head"))
	}
	_, err := io.WriteString(w, table.String()+done)
	return err
}

func policyCount(change content.Change) string {
	if len(change.Policies) == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", len(change.Policies))
}

func newPublishCommand() *cobra.Command {
	var options contentOptions
	var rings ringOptions
	var release int
	command := &cobra.Command{
		Use:   "publish TREE --dir DIR/operator",
		Short: "Sign the policies of a tree and publish them",
		Long: `Publish checks the tree as lint does, prints what it finds on standard error, signs
what has changed with the operator's policy key, and uploads it: policies first, heads
last. It works on the operator's machine; the portal has no key, and takes only what
the site's keys have signed.
With --out it is written into a folder that any web server can serve; for Macs that
have had heads of a portal, begin with a copy of its content folder, because versions
only rise.

What is the same is not signed again. A policy that has changed gets its next
revision. A group that is gone from the tree is released, by a signed head.

--percent has only a share of each group's Macs take a policy that has changed, the
same Macs at every higher share; then 'prlportal policies promote' or 'halt'.
--monitor has the Macs say what they would do, and do nothing.

Where more than 5 % of the known Macs would lose their policy, it is refused; say
how many with --release. With --out no Macs are known, and groups are counted.`,
		Example: `  prlportal publish fleet --dir site/operator --dry-run
  prlportal publish fleet --dir site/operator --percent 5
  prlportal publish fleet --dir site/operator --out /srv/www/content`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			read, err := rings.readTree(command, args[0])
			if err != nil {
				return err
			}
			work, err := options.open(command.Context())
			if err != nil {
				return err
			}
			defer work.close()
			change, err := rings.plan(command.Context(), work, read)
			if err != nil {
				return err
			}
			if err := work.checkReleased(command.Context(), change, release); err != nil {
				return err
			}
			work.warnOfPrimary(command.ErrOrStderr(), read)
			if err := work.finish(command.Context(), &options, command.OutOrStdout(), change); err != nil || options.dryRun {
				return err
			}
			return work.keepDeleted(read.Site.DeletedPolicies)
		},
	}
	options.addSigningFlags(command)
	rings.addFlags(command)
	command.Flags().IntVar(&release, "release", -1, "how many Macs lose their policy, to insist on it")
	return command
}

// ringOptions say how many Macs are to take what a tree has changed, and how.
type ringOptions struct {
	percent int
	monitor bool
}

func (o *ringOptions) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.IntVar(&o.percent, "percent", 0, "share of each group's Macs that take a changed policy, 1 to 100 (default: all)")
	flags.BoolVar(&o.monitor, "monitor", false, "heads in monitor mode, whatever the groups' files say")
}

// readTree reads a tree in which nothing is wrong, and prints what lint has to say of
// it: that something is not enforceable is to be read before it is signed.
func (o *ringOptions) readTree(command *cobra.Command, folder string) (tree.Tree, error) {
	if o.percent < 0 || o.percent > 100 || command.Flags().Changed("percent") && o.percent == 0 {
		return tree.Tree{}, usageError("--percent is a number from 1 to 100")
	}
	read, err := readTree(folder)
	if err == nil && len(read.Findings) > 0 {
		err = printFindings(command.ErrOrStderr(), folder, read.Findings)
	}
	if err == nil && read.Has(tree.Failure) {
		err = errFindings
	}
	return read, err
}

func (o *ringOptions) plan(ctx context.Context, work *workplace, read tree.Tree) (content.Change, error) {
	return content.Publication{Tree: read, Percent: o.percent, Monitor: o.monitor}.Plan(ctx, work.state, work.store)
}

// mostReleased is the share of Macs that may lose their policy without a word.
const mostReleased = 0.05

// checkReleased refuses a tree that lost more than anybody means to lose.
func (w *workplace) checkReleased(ctx context.Context, change content.Change, insisted int) error {
	released := change.Released()
	if len(released) == 0 {
		return nil
	}
	lost, known, unit := len(released), len(w.state.Heads), "groups"
	if w.status != nil {
		status, err := w.status.PolicyStatus(ctx)
		if err != nil {
			return fmt.Errorf("count Macs: %w", err)
		}
		lost, known, unit = 0, 0, "Macs"
		for _, group := range status.Groups {
			known += group.Macs
			if slices.Contains(released, group.Group) {
				lost += group.Macs
			}
		}
	}
	if float64(lost) <= mostReleased*float64(known) || insisted == lost {
		return nil
	}
	return fmt.Errorf("%d of %d %s would lose their policy (%s); if that is meant, say --release %d",
		lost, known, unit, text.DisplayValue(strings.Join(released, ", ")), lost)
}

// warnOfPrimary says where the tree and the portal differ on who has no group.
func (w *workplace) warnOfPrimary(out io.Writer, read tree.Tree) {
	if portals := w.published.PrimaryGroup; portals != "" && portals != read.Site.PrimaryGroup {
		fmt.Fprintf(out, "prlportal: the primary group of the portal is %s, and %s says %s; Macs without a group get that of the portal's %s\n",
			text.DisplayValue(portals), tree.SiteFile, text.DisplayValue(read.Site.PrimaryGroup), site.ConfigFile)
	}
}

func newRenewHeadsCommand() *cobra.Command {
	var options contentOptions
	command := &cobra.Command{
		Use:   "renew --dir DIR/operator",
		Short: "Sign all heads anew, with the same content",
		Long: `Renew signs every head anew for another 30 days; what it says stays. Macs keep the
last policy after that time, and say that it is stale. Run it once a week, as by
cron, on the machine with the policy key: it needs no tree and asks nothing.`,
		Example: "  prlportal renew --dir site/operator\n  prlportal renew --dir site/operator --out /srv/www/content",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			work, err := options.open(command.Context())
			if err != nil {
				return err
			}
			defer work.close()
			change, err := content.Renew(work.state)
			if err != nil {
				return err
			}
			return work.finish(command.Context(), &options, command.OutOrStdout(), change)
		},
	}
	options.addSigningFlags(command)
	return command
}
