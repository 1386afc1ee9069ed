package sim

import (
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// flatPackage is a package for installer: a Distribution that names one component.
type flatPackage struct {
	title   string
	info    packageInfo
	payload []packedFile
	scripts map[string][]byte // by the name that they are run as
}

// packageInfo is what PackageInfo says of a component (facts/macos.md 13.1).
type packageInfo struct {
	Format      string `xml:"format-version,attr"`
	Identifier  string `xml:"identifier,attr"`
	Version     string `xml:"version,attr"`
	Location    string `xml:"install-location,attr"`
	Auth        string `xml:"auth,attr"`
	Overwrite   bool   `xml:"overwrite-permissions,attr"`
	Preinstall  script `xml:"scripts>preinstall"`
	Postinstall script `xml:"scripts>postinstall"`
}

type script struct {
	File string `xml:"file,attr"`
}

type distribution struct {
	XMLName xml.Name
	Title   string `xml:"title"`
	Options struct {
		Architectures string `xml:"hostArchitectures,attr"`
	} `xml:"options"`
	References []struct {
		ID     string `xml:"id,attr"`
		Folder string `xml:",chardata"`
	} `xml:"pkg-ref"`
}

// errOtherProcessor is a package that is not for this kind of Mac: without arm64 in it
// Apple silicon asks for Rosetta (facts/macos.md 13.1, inferred).
var errOtherProcessor = errors.New("the package is not for this kind of Mac")

// readPackage reads a package whole, and refuses one that contradicts itself: what is
// installed, and with which modes and owners, the bill of materials says, too.
func readPackage(archive []byte, processor string) (*flatPackage, error) {
	files, err := readXar(archive)
	if err != nil {
		return nil, err
	}
	var document distribution
	if err := decodeDocument(files, "Distribution", &document); err != nil {
		return nil, err
	}
	if document.XMLName.Local != "installer-gui-script" && document.XMLName.Local != "installer-script" {
		return nil, fmt.Errorf("the Distribution is a %q", document.XMLName.Local)
	}
	if !slices.Contains(strings.Split(document.Options.Architectures, ","), processor) {
		return nil, errOtherProcessor
	}
	var component string
	for _, reference := range document.References {
		if folder, found := strings.CutPrefix(strings.TrimSpace(reference.Folder), "#"); found {
			if component != "" {
				return nil, errors.New("it has several components, which is not simulated")
			}
			component = folder
		}
	}
	whole := &flatPackage{title: document.Title}
	return whole, whole.readComponent(files, component)
}

func decodeDocument(files map[string][]byte, name string, into any) error {
	data, has := files[name]
	if !has {
		return fmt.Errorf("it has no %s", name)
	}
	if err := xml.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return nil
}

func (p *flatPackage) readComponent(files map[string][]byte, component string) (err error) {
	if err := decodeDocument(files, component+"/PackageInfo", &p.info); err != nil {
		return err
	}
	if p.info.Identifier == "" || p.info.Version == "" || !path.IsAbs(p.info.Location) {
		return errors.New("the PackageInfo has no identifier, version or place")
	}
	if p.payload, err = readCpio(files[component+"/Payload"]); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	rows, err := readBom(files[component+"/Bom"])
	if err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	if err := comparePayload(p.payload, rows); err != nil {
		return err
	}
	return p.readScripts(files[component+"/Scripts"])
}

// comparePayload refuses a payload that is not what the bill of materials lists.
func comparePayload(payload []packedFile, rows map[string]bomRow) error {
	known := map[string]bool{}
	for _, file := range payload {
		row, listed := rows[file.path]
		sum := uint32(0)
		if !file.isFolder() {
			sum = posixSum(file.data)
		}
		switch {
		case !listed:
			return fmt.Errorf("%s is not in the bill of materials", file.path)
		case known[file.path]:
			return fmt.Errorf("%s is there twice", file.path)
		case file.path != "." && !known[path.Dir(file.path)]:
			return fmt.Errorf("%s comes before its folder", file.path)
		case row != bomRow{file.mode, file.owner, file.group, uint32(len(file.data)), sum}:
			return fmt.Errorf("%s is not as the bill of materials says", file.path)
		}
		known[file.path] = true
	}
	if len(rows) != len(known) {
		return fmt.Errorf("the bill of materials lists %d paths, of which %d are there", len(rows), len(known))
	}
	return nil
}

// readScripts reads the scripts that PackageInfo names. The simulated Mac runs those
// that are for sh.
func (p *flatPackage) readScripts(archive []byte) error {
	p.scripts = map[string][]byte{}
	wanted := map[string]string{"preinstall": p.info.Preinstall.File, "postinstall": p.info.Postinstall.File}
	if wanted["preinstall"]+wanted["postinstall"] == "" {
		return nil
	}
	files, err := readCpio(archive)
	if err != nil {
		return fmt.Errorf("scripts: %w", err)
	}
	for name, file := range wanted {
		index := slices.IndexFunc(files, func(one packedFile) bool { return "./"+one.path == file })
		switch {
		case file == "":
		case index < 0:
			return fmt.Errorf("there is no script %s", file)
		case files[index].mode&0o111 == 0 || !strings.HasPrefix(string(files[index].data), "#!/bin/sh\n"):
			return fmt.Errorf("%s cannot be run by sh", file)
		default:
			p.scripts[name] = files[index].data
		}
	}
	return nil
}
