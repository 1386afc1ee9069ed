package pkg

import "encoding/xml"

// component is the name of the folder in the package that has the files.
const component = "agent.pkg"

// What the two documents of a package say, with the names of facts/macos.md 13.1.
type (
	packageInfo struct {
		XMLName       xml.Name `xml:"pkg-info"`
		FormatVersion int      `xml:"format-version,attr"`
		Identifier    string   `xml:"identifier,attr"`
		Version       string   `xml:"version,attr"`
		Location      string   `xml:"install-location,attr"`
		Auth          string   `xml:"auth,attr"`
		// Off: a folder that is there keeps its owner and mode.
		OverwritePermissions bool          `xml:"overwrite-permissions,attr"`
		Relocatable          bool          `xml:"relocatable,attr"`
		Payload              payloadSize   `xml:"payload"`
		Preinstall           packageScript `xml:"scripts>preinstall"`
		Postinstall          packageScript `xml:"scripts>postinstall"`
	}
	payloadSize struct {
		Files     int `xml:"numberOfFiles,attr"`
		Kilobytes int `xml:"installKBytes,attr"`
	}
	packageScript struct {
		File string `xml:"file,attr"`
	}

	distribution struct {
		XMLName    xml.Name            `xml:"installer-gui-script"`
		MinVersion int                 `xml:"minSpecVersion,attr"`
		Title      string              `xml:"title"`
		Options    distributionOptions `xml:"options"`
		Outline    []choiceLine        `xml:"choices-outline>line"`
		Choice     choice              `xml:"choice"`
		Package    packageReference    `xml:"pkg-ref"`
	}
	distributionOptions struct {
		Customize string `xml:"customize,attr"`
		Scripts   bool   `xml:"require-scripts,attr"`
		// Without arm64 an Apple silicon Mac asks for Rosetta (facts/macos.md 13.1).
		Architectures string `xml:"hostArchitectures,attr"`
	}
	choiceLine struct {
		Choice string `xml:"choice,attr"`
	}
	choice struct {
		ID      string           `xml:"id,attr"`
		Title   string           `xml:"title,attr"`
		Package packageReference `xml:"pkg-ref"`
	}
	packageReference struct {
		ID      string `xml:"id,attr"`
		Version string `xml:"version,attr,omitempty"`
		Auth    string `xml:"auth,attr,omitempty"`
		Folder  string `xml:",chardata"`
	}
)

func describePackage(version string, entries []entry) packageInfo {
	bytes := 0
	for _, e := range entries {
		bytes += len(e.data)
	}
	return packageInfo{
		FormatVersion: 2, Identifier: Identifier, Version: version, Location: "/", Auth: "root",
		Payload:     payloadSize{Files: len(entries), Kilobytes: (bytes + 1023) / 1024},
		Preinstall:  packageScript{"./preinstall"},
		Postinstall: packageScript{"./postinstall"},
	}
}

func describeDistribution(version string) distribution {
	return distribution{
		MinVersion: 2, Title: "prlagent " + version,
		Options: distributionOptions{Customize: "never", Architectures: "arm64,x86_64"},
		Outline: []choiceLine{{"agent"}},
		Choice:  choice{ID: "agent", Title: "prlagent", Package: packageReference{ID: Identifier}},
		Package: packageReference{ID: Identifier, Version: version, Auth: "root", Folder: "#" + component},
	}
}
