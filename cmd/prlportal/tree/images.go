package tree

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"

	"prlagent/agent/policy"
)

func (r *reader) readImages() error {
	r.images = make(map[string]int)
	names := make(uniqueNames)
	return r.eachFile(ImageFolder, func(file, id string, whole value) {
		whole = r.refuseNulls(file, memberImage, whole)
		if given, is := whole.member("id"); is && given.scalar != id {
			r.fail(ruleValue, source{file, given.at}, "id", "it is not the name of the file, which is the id; leave it out")
		}
		image := Image{ID: id, file: file, whole: whole.with("id", id)}
		name, _ := whole.member("name")
		image.Name = name.text()
		r.checkUnique(names, file, whole, image.Name)
		r.judgeImage(&image)
		r.images[id] = len(r.tree.Images)
		r.tree.Images = append(r.tree.Images, image)
	})
}

// judgeImage has the agent's own reader read the image, in a policy that has
// nothing else.
func (r *reader) judgeImage(image *Image) {
	from := make(sources)
	from.add(image.file, "", image.whole)
	from.add(image.file, memberImage, image.whole)
	probe := value{at: image.whole.at, kind: kindObject}.with("schema", json.Number("1")).with(memberRevision, json.Number("1")).
		with(memberPolicyID, "image").with("name", "image").withValue(memberImage, image.whole)
	document, problems := policy.Check(probe.appendJSON(nil))
	for _, problem := range slices.Concat(problems, document.Ignored) {
		message := problem.Detail
		if slices.Contains(document.Ignored, problem) {
			message = "there is no such member here, and a Mac would pass over it in silence"
		}
		r.report(ruleOf(problem.Code), from.find(problem.Path), problem.Path, "%s", message)
	}
	if document.GoldenImage == nil {
		return
	}
	for _, one := range document.GoldenImage.Images {
		path := below(below(below("", memberImage), "images"), one.Architecture)
		r.checkDirect(from, below(path, "url"), one.URL, one.Format)
		for _, mirror := range one.Mirrors {
			r.checkDirect(from, below(path, "mirrors"), mirror, one.Format)
		}
	}
}

// endings are how the path of a file ends, by the format of an image.
var endings = map[string][]string{"pvmp": {".pvmp"}, "zip": {".zip"}, "tgz": {".tgz", ".tar.gz"}}

// checkDirect finds addresses that are likely pages about a file, and not the file.
func (r *reader) checkDirect(from sources, at, address, format string) {
	location, err := url.Parse(address)
	if err != nil || len(endings[format]) == 0 {
		return // another rule's
	}
	name := strings.ToLower(path.Base(location.Path))
	if !slices.ContainsFunc(endings[format], func(ending string) bool { return strings.HasSuffix(name, ending) }) {
		r.fail(ruleDirectImage, from.find(at), at, "its path does not end in %s: is it the file itself, and not a page about it?", strings.Join(endings[format], " or "))
	}
	if location.Fragment != "" {
		r.fail(ruleDirectImage, from.find(at), at, "it has a #fragment, which is never sent")
	}
}

// checkImages finds images that no policy has.
func (r *reader) checkImages() {
	for i := range r.tree.Images {
		image := &r.tree.Images[i]
		used := slices.ContainsFunc(r.tree.Policies, func(p Policy) bool { return p.ImageID == image.ID })
		if !used {
			r.fail(ruleOrphanImage, source{image.file, image.whole.at}, "", "no policy has it")
		}
	}
}
