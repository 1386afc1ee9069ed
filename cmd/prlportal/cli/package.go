package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/pkg"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// packageOptions are the flags of 'package'.
type packageOptions struct {
	programs, version, downgrade, out string
	replace, asJSON                   bool
}

// packageResult is what 'package --json' prints.
type packageResult struct {
	Version        string         `json:"version"`
	Identifier     string         `json:"identifier"` // of receipts
	StoreFormat    int            `json:"store_format"`
	AllowDowngrade bool           `json:"allow_downgrade"`
	Files          []packagedFile `json:"files"`
}

type packagedFile struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"` // package, tar, uninstall_script, munki_pkginfo
	Size   int    `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

func newPackageCommand() *cobra.Command {
	var options packageOptions
	command := &cobra.Command{
		Use:   "package --programs DIR --version VERSION --out DIR",
		Short: "Make the agent's installer package for Macs",
		Long: `Package makes an installer package of the agent, a plain tar, the script that
uninstalls it and a pkginfo for Munki, on any system and without other tools. It needs
the programs for both kinds of Mac, built as the README says:

  DIR/darwin-arm64/prlagentd  DIR/darwin-arm64/prlagent
  DIR/darwin-amd64/prlagentd  DIR/darwin-amd64/prlagent

Programs that are to be signed are signed there, each by itself: they are joined as
they are. The package itself is not signed. The same programs give the same bytes.

The package refuses to replace a newer version, and a state that this version cannot
read. With --allow-downgrade-to, which repeats the package's own version, it makes a
copy of the Mac's state, and then replaces them.

Files of that version which are there and have the same content stay as they are; others
are written over with --replace only.`,
		Example: `  prlportal package --programs build --version 1.2.0 --out packages
  prlportal package --programs build --version 1.1.0 --allow-downgrade-to 1.1.0 --out packages --json`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options.version, options.downgrade = text.TypedWord(options.version), text.TypedWord(options.downgrade)
			result, err := options.makePackage()
			if err != nil {
				return err
			}
			return options.describe(command.OutOrStdout(), result)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.programs, "programs", "", "folder with darwin-arm64 and darwin-amd64, each with prlagentd and prlagent")
	flags.StringVar(&options.version, "version", "", "version of the programs: two to four numbers, like 1.2.0")
	flags.StringVar(&options.downgrade, "allow-downgrade-to", "", "the package's version, to let it replace a newer one")
	flags.StringVarP(&options.out, "out", "o", "", "folder to write to; it is made if it is not there")
	flags.BoolVar(&options.replace, "replace", false, "write over files of that version which are others")
	flags.BoolVar(&options.asJSON, "json", false, "print JSON")
	return command
}

func (o packageOptions) checkFlags() error {
	for _, flag := range []struct{ name, value string }{{"programs", o.programs}, {"version", o.version}, {"out", o.out}} {
		if flag.value == "" {
			return usageError("--" + flag.name + " is missing")
		}
	}
	return nil
}

func (o packageOptions) makePackage() (packageResult, error) {
	if err := o.checkFlags(); err != nil {
		return packageResult{}, err
	}
	files, err := pkg.Build(pkg.Options{Programs: o.programs, Version: o.version, AllowDowngradeTo: o.downgrade})
	if err != nil {
		return packageResult{}, err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return packageResult{}, fmt.Errorf("make folder: %w", err)
	}
	if err := o.checkReplaced(files); err != nil {
		return packageResult{}, err
	}
	result := packageResult{Version: o.version, Identifier: pkg.Identifier, StoreFormat: pkg.StoreFormat, AllowDowngrade: o.downgrade != ""}
	for _, file := range files {
		path := filepath.Join(o.out, file.Name)
		if err := safefile.WriteFile(path, file.Data, file.Mode); err != nil {
			return packageResult{}, fmt.Errorf("write package: %w", err)
		}
		sum := sha256.Sum256(file.Data)
		result.Files = append(result.Files, packagedFile{Path: path, Kind: file.Kind, Size: len(file.Data), SHA256: hex.EncodeToString(sum[:])})
	}
	return result, nil
}

// checkReplaced refuses to write over another package of the same name: one of them
// would be given to Macs for the other.
func (o packageOptions) checkReplaced(files []pkg.File) error {
	for _, file := range files {
		path := filepath.Join(o.out, file.Name)
		if _, err := os.Lstat(path); err != nil || o.replace {
			continue
		}
		if found, err := safefile.ReadFile(path, int64(len(file.Data))); err != nil || !bytes.Equal(found, file.Data) {
			return &pkg.Refusal{Reason: pkg.ReasonAlreadyThere, What: path + " is there, with another content"}
		}
	}
	return nil
}

// describe says what was written, in lines that sha256sum -c reads, or in JSON.
func (o packageOptions) describe(w io.Writer, result packageResult) error {
	if o.asJSON {
		return printJSON(w, result)
	}
	for _, file := range result.Files {
		if err := writeText(w, file.SHA256+"  "+text.DisplayValue(file.Path)+"\n"); err != nil {
			return err
		}
	}
	note := "\nNot signed. "
	if result.AllowDowngrade {
		note += "It replaces newer versions too: give it to the Macs that are to go back, and to no others. "
	}
	return writeText(w, note+"Next: sudo installer -pkg FILE -target /, on a Mac\n")
}
