package policy

import (
	"encoding/json"
	"maps"
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
	document Document
	problems []*Error
}

func (r *documentReader) fail(problem *Error) {
	if len(r.problems) < maxErrors {
		r.problems = append(r.problems, problem)
	}
}

func (r *documentReader) wrongType(n node, want string) {
	r.fail(invalid(n.path, protocol.CodePolicyWrongType, "it is %s, and should be %s", n.kind(), want))
}

func (r *documentReader) wrongValue(n node, format string, args ...any) {
	r.fail(invalid(n.path, protocol.CodePolicyWrongValue, format, args...))
}

func (r *documentReader) missing(path, name string) {
	r.fail(invalid(below(path, name), protocol.CodePolicyMissing, "it is mandatory"))
}

// readDocument reads the whole.
func (r *documentReader) readDocument(root node) {
	r.document.VMSettings.OnUnsupported, r.document.VMSettings.RemindEvery = Leave, week
	r.document.SecurityControls.OnViolation, r.document.SecurityControls.Grace = ReportOnly, DefaultGraceSeconds*time.Second
	if !root.isObject() {
		r.wrongType(root, "an object")
		return
	}
	present := r.object(root, documentMembers)
	for _, name := range []string{"schema", "policy_id", "revision", "name"} {
		if !present[name] {
			r.missing("", name)
		}
	}
	for _, path := range []string{"vm_settings.golden_image", "vm_settings.other"} {
		r.refuseConflicts(path)
	}
}

// object reads the members that have readers and notes those that have none. It
// returns the names that are there.
func (r *documentReader) object(n node, readers memberReaders) map[string]bool {
	present := make(map[string]bool)
	if !n.isObject() {
		r.wrongType(n, "an object")
		return present
	}
	for _, m := range n.members {
		present[m.name] = true
		if read := readers[m.name]; read != nil {
			read(r, m.value)
			continue
		}
		problem := invalid(m.value.path, protocol.CodePolicyUnknownMember, "this version does not know it")
		if len(r.document.Ignored) < maxErrors {
			r.document.Ignored = append(r.document.Ignored, problem)
		}
	}
	return present
}

func (r *documentReader) text(n node) string {
	text, ok := n.scalar.(string)
	if !ok {
		r.wrongType(n, "a text")
	}
	return text
}

// mandatory reads a text that must not be empty.
func (r *documentReader) mandatory(n node) string {
	text := r.text(n)
	if _, ok := n.scalar.(string); ok && strings.TrimSpace(text) == "" {
		r.wrongValue(n, "it is empty")
	}
	return text
}

func (r *documentReader) truth(n node) bool {
	truth, ok := n.scalar.(bool)
	if !ok {
		r.wrongType(n, "true or false")
	}
	return truth
}

func (r *documentReader) number(n node, least, most int64) (int64, bool) {
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

func (r *documentReader) oneOf(n node, words ...string) string {
	text := r.text(n)
	if _, ok := n.scalar.(string); ok && !slices.Contains(words, text) {
		r.wrongValue(n, "%.80q is not among the values: %s", text, strings.Join(words, ", "))
	}
	return text
}

// list reads each item of a list of texts.
func (r *documentReader) list(n node, read func(node) string) []string {
	if !n.isList {
		r.wrongType(n, "a list")
		return nil
	}
	list := make([]string, 0, len(n.items))
	for _, item := range n.items {
		list = append(list, read(item))
	}
	return list
}

// name reads a name that ends in paths and addresses (H63).
func (r *documentReader) name(n node) string {
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

func (r *documentReader) feature(n node) string {
	name := r.text(n)
	if _, ok := n.scalar.(string); ok && !slices.Contains(knownFeatures, name) {
		r.fail(&Error{Path: n.path, Code: protocol.CodeUnsupportedFeature, Err: ErrUnsupported,
			Detail: "this version has no feature " + strconv.Quote(protocol.CutText(name, 80))})
	}
	return name
}

// notCarriedOut notes the members of a section that this version only knows by
// name.
func (r *documentReader) notCarriedOut(n node) {
	if !n.isObject() {
		r.wrongType(n, "an object")
		return
	}
	for _, m := range n.members {
		r.noteNotCarriedOut(m.value.path)
	}
}

func (r *documentReader) noteNotCarriedOut(path string) {
	if len(r.document.NotCarriedOut) < maxNotCarriedOut {
		r.document.NotCarriedOut = append(r.document.NotCarriedOut, path)
	}
}

// scope reads one kind of machines' settings.
func (r *documentReader) scope(n node) Scope {
	scope := Scope{Managed: true, Settings: make(map[string]Value)}
	if !n.isObject() {
		r.wrongType(n, "an object")
		return scope
	}
	for _, m := range n.members {
		setting := Find(m.name)
		if setting == nil {
			if len(scope.Unknown) < maxUnknown {
				scope.Unknown = append(scope.Unknown, protocol.CutText(m.name, 80))
			}
			continue
		}
		text, fits := setting.Values.fits(m.value.scalar)
		switch {
		case !fits:
			r.wrongType(m.value, setting.Values.List())
		case !setting.Values.has(text):
			r.wrongValue(m.value, "%.80q is not among the values: %s", text, setting.Values.List())
		default:
			scope.Settings[m.name] = Value(text)
		}
	}
	return scope
}

// refuseConflicts finds two settings that want different things of one flag:
// neither could ever stay as it was set.
func (r *documentReader) refuseConflicts(scopePath string) {
	scope := &r.document.VMSettings.GoldenImage
	if scopePath == "vm_settings.other" {
		scope = &r.document.VMSettings.Other
	}
	type claim struct{ setting, word string }
	claimed := make(map[string]claim)
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
			other, taken := claimed[part.Flag]
			if taken && other.word != word.Set[0] {
				r.fail(invalid(below(scopePath, setting.Name), protocol.CodePolicyConflict,
					"with %s it sets %s to %s, and %s wants %s", value, part.Flag, word.Set[0], other.setting, other.word))
				break
			}
			if !taken {
				claimed[part.Flag] = claim{setting.Name, word.Set[0]}
			}
		}
	}
}

// adopt reads which machines are adopted.
func (r *documentReader) adopt(n node) {
	present := r.object(n, memberReaders{
		"vm_ids": func(r *documentReader, n node) {
			r.document.Adopt.VMIDs = r.list(n, func(item node) string {
				id, err := prlctl.ParseID(r.text(item))
				if _, ok := item.scalar.(string); ok && err != nil {
					r.wrongValue(item, "it is no UUID")
				}
				return id
			})
			slices.Sort(r.document.Adopt.VMIDs)
		},
		"first_seen_before": func(r *documentReader, n node) {
			day, err := time.Parse(time.DateOnly, r.text(n))
			if _, ok := n.scalar.(string); ok && err != nil {
				r.wrongValue(n, "it is no date of the form 2026-12-31")
			}
			r.document.Adopt.FirstSeenBefore = day
		},
		"bundle_names": func(r *documentReader, n node) {
			r.document.Adopt.BundleNames = r.list(n, func(item node) string {
				pattern := r.mandatory(item)
				if _, err := path.Match(pattern, ""); err != nil {
					r.wrongValue(item, "%.80q is no pattern of file names", pattern)
				}
				return pattern
			})
			if len(r.document.Adopt.BundleNames) > maxBundleNames {
				r.wrongValue(n, "it has more than %d patterns, which are all tried for each virtual machine", maxBundleNames)
			}
		},
	})
	if n.isObject() && present["bundle_names"] && !present["first_seen_before"] {
		r.fail(invalid(below(n.path, "first_seen_before"), protocol.CodePolicyMissing, "it is mandatory beside bundle_names: any user can name a bundle"))
	}
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
func (r *documentReader) goldenImage(n node) *GoldenImage {
	image := &GoldenImage{RolloutPercent: 100}
	present := r.object(n, memberReaders{
		"id":          func(r *documentReader, n node) { image.ID = r.name(n) },
		"name":        func(r *documentReader, n node) { image.Name = r.mandatory(n) },
		"description": func(r *documentReader, n node) { image.Description = r.text(n) },
		"images":      func(r *documentReader, n node) { image.Images = r.images(n) },
		"rollout_percent": func(r *documentReader, n node) {
			percent, _ := r.number(n, 0, 100)
			image.RolloutPercent = int(percent)
		},
		"download": func(r *documentReader, n node) {
			r.object(n, memberReaders{
				"max_kbps": func(r *documentReader, n node) {
					limit, _ := r.number(n, 1, 1<<30)
					image.MaxKBps = int(limit)
				},
				"window": func(r *documentReader, n node) { image.Window = r.mandatory(n) },
			})
		},
	})
	for _, name := range []string{"id", "name", "images"} {
		if n.isObject() && !present[name] {
			r.missing(n.path, name)
		}
	}
	return image
}

// images reads the image of each architecture.
func (r *documentReader) images(n node) []Image {
	var images []Image
	readers := make(memberReaders)
	for _, architecture := range imageArchitectures {
		readers[architecture] = func(r *documentReader, n node) {
			images = append(images, r.image(n, architecture))
		}
	}
	r.object(n, readers)
	if n.isObject() && len(images) == 0 {
		r.wrongValue(n, "it has no image for any of %s", strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
	}
	return images
}

func (r *documentReader) image(n node, architecture string) Image {
	image := Image{Architecture: architecture}
	present := r.object(n, memberReaders{
		"url":     func(r *documentReader, n node) { image.URL = r.url(n) },
		"mirrors": func(r *documentReader, n node) { image.Mirrors = r.list(n, r.url) },
		"format":  func(r *documentReader, n node) { image.Format = r.oneOf(n, imageFormats...) },
		"size":    func(r *documentReader, n node) { image.Size, _ = r.number(n, 1, 1<<50) },
		"sha256": func(r *documentReader, n node) {
			image.SHA256 = r.text(n)
			if _, ok := n.scalar.(string); ok && (len(image.SHA256) != 64 || strings.Trim(image.SHA256, "0123456789abcdef") != "") {
				r.wrongValue(n, "it is no SHA-256: 64 digits 0 to 9 and a to f")
			}
		},
	})
	for _, name := range []string{"url", "sha256", "format"} {
		if n.isObject() && !present[name] {
			r.missing(n.path, name)
		}
	}
	return image
}

func (r *documentReader) url(n node) string {
	text := r.text(n)
	parsed, err := url.Parse(text)
	if _, ok := n.scalar.(string); ok && (err != nil || parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil) {
		r.wrongValue(n, "it is no address that begins with https:// and has no password")
	}
	return text
}
