package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"prlagent/agent/config"
	"prlagent/platform/plist"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// settingOptions are the flags that give keys of the agent their values.
type settingOptions struct {
	typed, files []string // KEY=VALUE, KEY=FILE
	alone        bool
	input        io.Reader // standard input
}

func (o *settingOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.typed, "set", nil, "KEY=VALUE, a setting; again for another one")
	flags.StringArrayVar(&o.files, "set-file", nil, "KEY=FILE, a setting from a file: the text of a secret, a property list of anything else; - is the standard input")
	flags.BoolVar(&o.alone, "only-set", false, "write these settings alone, without a portal")
}

func (o settingOptions) check() error {
	if o.alone && len(o.typed)+len(o.files) == 0 {
		return usageError("--only-set needs --set or --set-file")
	}
	return nil
}

// addTo gives the settings with those of the flags, as a property list has them. What
// the agent would refuse is refused here.
func (o settingOptions) addTo(wanted preferences) (map[string]any, error) {
	settings, err := asPropertyList(wanted)
	if err != nil {
		return nil, err
	}
	for _, pair := range o.typed {
		name, typed, found := strings.Cut(pair, "=")
		if !found {
			return nil, usageError("--set is KEY=VALUE")
		}
		name = text.TrimTyped(name)
		value, err := config.TypedValue(name, text.Straighten(typed))
		if err != nil {
			return nil, usageError("--set: " + err.Error())
		}
		settings[name] = value
	}
	for _, pair := range o.files {
		name, file, found := strings.Cut(pair, "=")
		if !found || file == "" {
			return nil, usageError("--set-file is KEY=FILE")
		}
		name = text.TrimTyped(name)
		content, err := readSecretFile("--set-file", file, o.input)
		if err != nil {
			return nil, err
		}
		value, err := config.FileValue(name, content)
		if err != nil {
			return nil, usageError("--set-file: " + err.Error())
		}
		settings[name] = value
	}
	if len(o.typed)+len(o.files) == 0 {
		return settings, nil
	}
	return settings, checkSettings(settings)
}

func checkSettings(settings map[string]any) error {
	var wrong []string
	for _, problem := range config.Check(settings) {
		wrong = append(wrong, problem.Key+": "+problem.Text)
	}
	if len(wrong) > 0 {
		return usageError("the agent would not take it: " + strings.Join(wrong, "; "))
	}
	return nil
}

// asPropertyList gives preferences in the types that a property list is read in.
func asPropertyList(wanted preferences) (map[string]any, error) {
	if len(wanted) == 0 {
		return map[string]any{}, nil
	}
	data, err := plist.EncodeXML(wanted)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	return plist.DecodeDict(data)
}

// readSecretFile is readInput for what may be a secret: no error shows the name, where
// the secret itself is given by a slip.
func readSecretFile(flag, name string, input io.Reader) ([]byte, error) {
	data, err := readInput(name, input)
	var failed *fs.PathError
	var wrong usageError
	switch {
	case name == "-":
		return data, err
	case errors.As(err, &wrong):
		return nil, usageError(flag + ": there is no such file; it takes the name of a file, and not what is in it")
	case errors.As(err, &failed):
		return nil, usageError(flag + ": the file cannot be read: " + failed.Err.Error())
	}
	return data, err
}

// maxInput is the largest file that is read for a setting or a signature, in bytes.
const maxInput = 1 << 20

// readInput reads a file, or the standard input where it is called "-".
func readInput(name string, input io.Reader) ([]byte, error) {
	if name != "-" {
		data, err := safefile.ReadFile(name, maxInput)
		if errors.Is(err, os.ErrNotExist) {
			return nil, usageError(fmt.Sprintf("there is no file %s", text.DisplayValue(name)))
		}
		if err != nil {
			return nil, fmt.Errorf("read file: %w", err)
		}
		return data, nil
	}
	data, err := io.ReadAll(io.LimitReader(input, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(data) > maxInput {
		return nil, usageError(fmt.Sprintf("the standard input has more than %d bytes", maxInput))
	}
	return data, nil
}
