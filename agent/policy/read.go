package policy

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"prlagent/agent/protocol"
	"prlagent/prlctl"
)

// Limits of what costs something for each virtual machine, or in each report. A
// document of 256 KiB could name twenty thousand settings that nobody has.
const (
	maxUnknown       = 64 // settings of a scope: of more only these are told
	maxNotCarriedOut = 256
	maxBundleNames   = 100
)

// documentReader reads a tree into a document and collects what is wrong.
type documentReader struct {
	document *Document
	problems []*Error
}

func (r *documentReader) fail(problem *Error) {
	if len(r.problems) < maxErrors {
		r.problems = append(r.problems, problem)
	}
}

func (r *documentReader) wrongType(n *node, want string) {
	r.fail(invalid(n.path, protocol.CodePolicyWrongType, "it is %s, and should be %s", n.kind(), want))
}

func (r *documentReader) wrongValue(n *node, format string, args ...any) {
	r.fail(invalid(n.path, protocol.CodePolicyWrongValue, format, args...))
}

// readDocument reads the whole.
func (r *documentReader) readDocument(root *node) {
	r.document.VMSettings.OnUnsupported, r.document.VMSettings.RemindEvery = Leave, week
	r.document.SecurityControls.OnViolation, r.document.SecurityControls.Grace = ReportOnly, DefaultGraceSeconds*time.Second
	if !root.isObject() {
		r.wrongType(root, "an object")
		return
	}
	for _, m := range root.inside {
		r.member(m)
	}
	r.require(root, "schema", "policy_id", "revision", "name")
	for _, path := range []string{"vm_settings.golden_image", "vm_settings.other"} {
		r.refuseConflicts(path)
	}
}

// member reads one member of the document.
func (r *documentReader) member(m *node) {
	switch m.name {
	case "schema":
		if schema, ok := r.number(m, 0, 1<<31); ok && schema != documentSchema {
			r.fail(invalid(m.path, protocol.CodePolicyWrongValue, "schema %d, this version reads %d", schema, documentSchema))
		}
	case "policy_id":
		r.document.PolicyID = r.name(m)
	case "revision":
		revision, _ := r.number(m, 1, 1<<53)
		r.document.Revision = uint64(max(revision, 0))
	case "name":
		r.document.Name = r.mandatory(m)
	case "description":
		r.document.Description = r.text(m)
	case "groups":
		r.document.Groups = r.list(m, (*documentReader).name)
	case "requires":
		r.document.Requires = r.list(m, (*documentReader).feature)
	case "golden_image":
		r.goldenImage(m)
	case "vm_settings":
		r.vmSettings(m)
	case "adopt":
		r.adopt(m)
	case "security_controls":
		r.securityControls(m)
	case "product":
		r.product(m)
	case "windows_updates":
		r.notCarriedOut(m)
	default:
		r.ignore(m)
	}
}

// members are those of an object, to be read; none if it is none.
func (r *documentReader) members(n *node) []*node {
	if !n.isObject() {
		r.wrongType(n, "an object")
		return nil
	}
	return n.inside
}

// ignore notes a member that this version does not know.
func (r *documentReader) ignore(n *node) {
	if len(r.document.Ignored) < maxErrors {
		r.document.Ignored = append(r.document.Ignored, invalid(n.path, protocol.CodePolicyUnknownMember, "this version does not know it"))
	}
}

// require refuses an object that has not all of these members.
func (r *documentReader) require(n *node, names ...string) {
	for _, name := range names {
		if n.isObject() && !n.has(name) {
			r.fail(invalid(below(n.path, name), protocol.CodePolicyMissing, "it is mandatory"))
		}
	}
}

func (r *documentReader) text(n *node) string {
	text, ok := n.scalar.(string)
	if !ok {
		r.wrongType(n, "a text")
	}
	return text
}

// mandatory reads a text that must not be empty.
func (r *documentReader) mandatory(n *node) string {
	text := r.text(n)
	if _, ok := n.scalar.(string); ok && strings.TrimSpace(text) == "" {
		r.wrongValue(n, "it is empty")
	}
	return text
}

func (r *documentReader) truth(n *node) bool {
	truth, ok := n.scalar.(bool)
	if !ok {
		r.wrongType(n, "true or false")
	}
	return truth
}

func (r *documentReader) number(n *node, least, most int64) (int64, bool) {
	literal, ok := n.scalar.(json.Number)
	if !ok {
		r.wrongType(n, "a number")
		return 0, false
	}
	number, err := strconv.ParseInt(literal.String(), 10, 64)
	if err != nil || number < least || number > most {
		r.wrongValue(n, "%.40s is no whole number from %d to %d", literal, least, most)
		return 0, false
	}
	return number, true
}

func (r *documentReader) oneOf(n *node, words ...string) string {
	text := r.text(n)
	if _, ok := n.scalar.(string); ok && !slices.Contains(words, text) {
		r.wrongValue(n, "%.80q is not among the values: %s", text, strings.Join(words, ", "))
	}
	return text
}

// list reads each item of a list of texts.
func (r *documentReader) list(n *node, read func(*documentReader, *node) string) []string {
	if !n.isList {
		r.wrongType(n, "a list")
		return nil
	}
	list := make([]string, 0, len(n.inside))
	for _, item := range n.inside {
		list = append(list, read(r, item))
	}
	return list
}

// name reads a name that ends in paths and addresses (H63).
func (r *documentReader) name(n *node) string {
	name := r.text(n)
	if _, ok := n.scalar.(string); ok && !isName(name) {
		r.wrongValue(n, "%.80q is no name: 1 to 64 letters, digits, dots, dashes and underscores, not a dot first", name)
	}
	return name
}

func isName(name string) bool {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	return name != "" && len(name) <= 64 && name[0] != '.' && strings.Trim(name, characters) == ""
}

func (r *documentReader) feature(n *node) string {
	name := r.text(n)
	if _, ok := n.scalar.(string); ok && !slices.Contains(knownFeatures, name) {
		r.fail(&Error{Path: n.path, Code: protocol.CodeUnsupportedFeature, Err: ErrUnsupported,
			Detail: "this version has no feature " + strconv.Quote(protocol.CutText(name, 80))})
	}
	return name
}

// notCarriedOut notes the members of a section that this version only knows by
// name.
func (r *documentReader) notCarriedOut(n *node) {
	for _, m := range r.members(n) {
		r.noteNotCarriedOut(m.path)
	}
}

func (r *documentReader) noteNotCarriedOut(path string) {
	if len(r.document.NotCarriedOut) < maxNotCarriedOut {
		r.document.NotCarriedOut = append(r.document.NotCarriedOut, path)
	}
}

// vmSettings reads the section of that name.
func (r *documentReader) vmSettings(n *node) {
	settings := &r.document.VMSettings
	for _, m := range r.members(n) {
		switch m.name {
		case "golden_image":
			r.scope(m, &settings.GoldenImage)
		case "other":
			r.scope(m, &settings.Other)
		case "beyond_guide":
			settings.BeyondGuide = r.truth(m)
		case "on_unsupported":
			settings.OnUnsupported = OnUnsupported(r.oneOf(m, string(Leave), string(Stricter)))
		case "max_wait_h":
			hours, _ := r.number(m, 1, MaxWaitHours)
			settings.MaxWait = time.Duration(hours) * time.Hour
		case "remind_every_weeks":
			weeks, _ := r.number(m, 0, MaxRemindWeeks)
			settings.RemindEvery = time.Duration(weeks) * week
		default:
			r.ignore(m)
		}
	}
}

// scope reads one kind of machines' settings.
func (r *documentReader) scope(n *node, scope *Scope) {
	scope.Managed, scope.Settings = true, make(map[string]Value)
	for _, m := range r.members(n) {
		setting := Find(m.name)
		if setting == nil {
			if len(scope.Unknown) < maxUnknown {
				scope.Unknown = append(scope.Unknown, protocol.CutText(m.name, 80))
			}
			continue
		}
		if value, ok := r.value(m, setting.Values); ok {
			scope.Settings[m.name] = value
		}
	}
}

// value reads one of the values.
func (r *documentReader) value(n *node, values *Values) (Value, bool) {
	text, fits := values.fits(n.scalar)
	switch {
	case !fits:
		r.wrongType(n, values.List())
	case !values.has(text):
		r.wrongValue(n, "%.80q is not among the values: %s", text, values.List())
	default:
		return Value(text), true
	}
	return "", false
}

// refuseConflicts finds two settings that want different things of one flag:
// neither could ever stay as it was set.
func (r *documentReader) refuseConflicts(scopePath string) {
	scope := &r.document.VMSettings.GoldenImage
	if scopePath == "vm_settings.other" {
		scope = &r.document.VMSettings.Other
	}
	type claim struct{ flag, setting, word string }
	var claimed []claim
	for i := range Settings {
		setting := &Settings[i]
		value, managed := scope.Settings[setting.Name]
		if !managed {
			continue
		}
		for j := range setting.Parts {
			part := &setting.Parts[j]
			word := part.WordFor(value)
			if word == nil {
				continue
			}
			var other *claim
			for k := range claimed {
				if claimed[k].flag == part.Flag {
					other = &claimed[k]
				}
			}
			if other != nil && other.word != word.Set[0] {
				r.fail(invalid(below(scopePath, setting.Name), protocol.CodePolicyConflict,
					"with %s it sets %s to %s, and %s wants %s", value, part.Flag, word.Set[0], other.setting, other.word))
				break
			}
			if other == nil {
				claimed = append(claimed, claim{part.Flag, setting.Name, word.Set[0]})
			}
		}
	}
}

// adopt reads which machines are adopted.
func (r *documentReader) adopt(n *node) {
	adopt := &r.document.Adopt
	for _, m := range r.members(n) {
		switch m.name {
		case "vm_ids":
			adopt.VMIDs = r.list(m, (*documentReader).id)
			slices.Sort(adopt.VMIDs)
		case "first_seen_before":
			day, err := time.Parse(time.DateOnly, r.text(m))
			if _, ok := m.scalar.(string); ok && err != nil {
				r.wrongValue(m, "it is no date of the form 2026-12-31")
			}
			adopt.FirstSeenBefore = day
		case "bundle_names":
			adopt.BundleNames = r.list(m, (*documentReader).pattern)
			if len(adopt.BundleNames) > maxBundleNames {
				r.wrongValue(m, "it has more than %d patterns, which are all tried for each virtual machine", maxBundleNames)
			}
		default:
			r.ignore(m)
		}
	}
	if n.has("bundle_names") && !n.has("first_seen_before") {
		r.fail(invalid(below(n.path, "first_seen_before"), protocol.CodePolicyMissing, "it is mandatory beside bundle_names: any user can name a bundle"))
	}
}

// id reads the id of a virtual machine.
func (r *documentReader) id(n *node) string {
	id, err := prlctl.ParseID(r.text(n))
	if _, ok := n.scalar.(string); ok && err != nil {
		r.wrongValue(n, "it is no UUID")
	}
	return id
}

// pattern reads a pattern of file names.
func (r *documentReader) pattern(n *node) string {
	pattern := r.mandatory(n)
	if _, err := path.Match(pattern, ""); err != nil {
		r.wrongValue(n, "%.80q is no pattern of file names", pattern)
	}
	return pattern
}

// matches reports whether the machine is adopted.
func (a *Adopt) matches(m *Machine) bool {
	if _, adopted := slices.BinarySearch(a.VMIDs, m.Key.ID); adopted {
		return true
	}
	if a.FirstSeenBefore.IsZero() || m.FirstSeen.IsZero() || !m.FirstSeen.Before(a.FirstSeenBefore) {
		return false
	}
	if len(a.BundleNames) == 0 {
		return true
	}
	name := path.Base(m.VM.Bundle())
	return slices.ContainsFunc(a.BundleNames, func(pattern string) bool {
		matched, err := path.Match(pattern, name)
		return err == nil && matched
	})
}

// Architectures and formats of golden images.
var (
	imageArchitectures = []string{"arm64", "x86_64"}
	imageFormats       = []string{"pvmp", "zip", "tgz"}
)

// goldenImage reads the one golden image of a policy.
func (r *documentReader) goldenImage(n *node) {
	image := &GoldenImage{RolloutPercent: 100}
	r.document.GoldenImage = image
	for _, m := range r.members(n) {
		switch m.name {
		case "id":
			image.ID = r.name(m)
		case "name":
			image.Name = r.mandatory(m)
		case "description":
			image.Description = r.text(m)
		case "images":
			image.Images = r.images(m)
		case "rollout_percent":
			percent, _ := r.number(m, 0, 100)
			image.RolloutPercent = int(percent)
		case "download":
			r.download(m, image)
		default:
			r.ignore(m)
		}
	}
	r.require(n, "id", "name", "images")
}

// download reads how a golden image is to be downloaded.
func (r *documentReader) download(n *node, image *GoldenImage) {
	for _, m := range r.members(n) {
		switch m.name {
		case "max_kbps":
			limit, _ := r.number(m, 1, 1<<30)
			image.MaxKBps = int(limit)
		case "window":
			image.Window = r.mandatory(m)
		default:
			r.ignore(m)
		}
	}
}

// images reads the image of each architecture.
func (r *documentReader) images(n *node) []Image {
	var images []Image
	for _, m := range r.members(n) {
		if !slices.Contains(imageArchitectures, m.name) {
			r.ignore(m)
			continue
		}
		images = append(images, Image{Architecture: m.name})
		r.image(m, &images[len(images)-1])
	}
	if n.isObject() && len(images) == 0 {
		r.wrongValue(n, "it has no image for any of %s", strings.Join(imageArchitectures, ", "))
	}
	return images
}

func (r *documentReader) image(n *node, image *Image) {
	for _, m := range r.members(n) {
		switch m.name {
		case "url":
			image.URL = r.url(m)
		case "mirrors":
			image.Mirrors = r.list(m, (*documentReader).url)
		case "format":
			image.Format = r.oneOf(m, imageFormats...)
		case "size":
			image.Size, _ = r.number(m, 1, 1<<50)
		case "sha256":
			image.SHA256 = r.text(m)
			if _, ok := m.scalar.(string); ok && (len(image.SHA256) != 64 || strings.Trim(image.SHA256, "0123456789abcdef") != "") {
				r.wrongValue(m, "it is no SHA-256: 64 digits 0 to 9 and a to f")
			}
		default:
			r.ignore(m)
		}
	}
	r.require(n, "url", "sha256", "format")
}

func (r *documentReader) url(n *node) string {
	text := r.text(n)
	parsed, err := url.Parse(text)
	if _, ok := n.scalar.(string); ok && (err != nil || parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil) {
		r.wrongValue(n, "it is no address that begins with https:// and has no password")
	}
	return text
}
