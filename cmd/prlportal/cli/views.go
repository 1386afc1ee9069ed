package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"prlagent/cmd/prlportal/query"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// tableView is a choice of columns and rows that can be kept under a name.
type tableView struct {
	Columns []string    `json:"columns,omitempty"`
	Query   query.Query `json:"query,omitzero"`
}

// savedViews are the views of one person: name of a table -> name -> view.
type savedViews map[string]map[string]tableView

// defaultView is what people get where they name no view. What machines get
// never depends on it.
const defaultView = "default"

// Limits of saved views.
const (
	maxViewFile = 256 << 10 // bytes
	maxViews    = 200       // of one table
)

var viewNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// useView puts a saved view below the flags: filters add to it, all else that
// is given replaces it.
func (o *listOptions) useView(table string, flags *pflag.FlagSet) error {
	name := o.viewName
	if name == "" && o.format == formatTable {
		name = defaultView
	}
	if name == "" {
		return nil
	}
	path, err := o.viewPath()
	if err != nil && o.viewName == "" {
		return nil // nobody without a home has saved a view
	}
	if err != nil {
		return err
	}
	views, err := loadViews(path)
	if err != nil {
		return err
	}
	saved, known := views[table][name]
	if !known && o.viewName == "" {
		return nil
	}
	if !known {
		return usageError(fmt.Sprintf("there is no view %q of %s; see 'prlportal views'", text.Display(name), table))
	}
	given := o.view
	o.view = saved
	o.view.Query.Filters = append(slices.Clone(saved.Query.Filters), given.Query.Filters...)
	for flag, replace := range map[string]func(){
		"columns":  func() { o.view.Columns = given.Columns },
		"search":   func() { o.view.Query.Search = given.Query.Search },
		"sort":     func() { o.view.Query.Sort = given.Query.Sort },
		"since":    func() { o.view.Query.Since = given.Query.Since },
		"page":     func() { o.view.Query.Page = given.Query.Page },
		"per-page": func() { o.view.Query.PerPage = given.Query.PerPage },
	} {
		if flags.Changed(flag) {
			replace()
		}
	}
	return nil
}

// keepView saves the view as it is now. Which page was shown is no part of it.
func (o *listOptions) keepView(table string) error {
	if !viewNamePattern.MatchString(o.saveView) {
		return usageError("--save-view is a name of letters, digits and . _ -")
	}
	path, err := o.viewPath()
	if err != nil {
		return err
	}
	views, err := loadViews(path)
	if err != nil {
		return err
	}
	if views[table] == nil {
		views[table] = make(map[string]tableView)
	}
	kept := o.view
	kept.Query.Page = 0
	views[table][o.saveView] = kept
	if len(views[table]) > maxViews {
		return usageError(fmt.Sprintf("there are %d views of %s already; remove one with 'prlportal views'", maxViews, table))
	}
	return saveViews(path, views)
}

func (o *listOptions) viewPath() (string, error) { return viewPath(o.viewFile) }

// viewPath is the file given, or the one in the user's own configuration.
func viewPath(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find saved views: %w; name a file with --views", err)
	}
	return filepath.Join(folder, "prlportal", "views.json"), nil
}

func loadViews(path string) (savedViews, error) {
	views := make(savedViews)
	data, err := safefile.ReadFile(path, maxViewFile)
	if errors.Is(err, fs.ErrNotExist) {
		return views, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read saved views: %w", err)
	}
	if err := json.Unmarshal(data, &views); err != nil {
		return nil, fmt.Errorf("read saved views in %s: %w", path, err)
	}
	if views == nil { // the file says null
		views = make(savedViews)
	}
	return views, nil
}

func saveViews(path string, views savedViews) error {
	encoded, err := text.EncodeJSON(views, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("save view: %w", err)
	}
	if err := safefile.WriteFile(path, append(encoded, '\n'), 0o600); err != nil {
		return fmt.Errorf("save view: %w", err)
	}
	return nil
}

func newViewsCommand() *cobra.Command {
	var file, remove string
	command := &cobra.Command{
		Use:   "views",
		Short: "List the saved views, or remove one",
		Long: `Views lists what --save-view has kept, with each view's query as it stands in the
URL of the admin plane. --remove TABLE/NAME removes one.`,
		Example: "  prlportal views\n  prlportal views --remove vms/running",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			path, err := viewPath(file)
			if err != nil {
				return err
			}
			views, err := loadViews(path)
			if err != nil {
				return err
			}
			if remove != "" {
				return removeView(path, views, remove)
			}
			return printViews(command, views)
		},
	}
	command.Flags().StringVar(&file, "views", "", "file of saved views (default: views.json in the user's configuration)")
	command.Flags().StringVar(&remove, "remove", "", "view to remove, as vms/NAME")
	return command
}

func removeView(path string, views savedViews, wanted string) error {
	table, name := filepath.Split(wanted)
	table = filepath.Clean(table)
	if _, known := views[table][name]; !known {
		return usageError(fmt.Sprintf("there is no view %q", text.Display(wanted)))
	}
	delete(views[table], name)
	return saveViews(path, views)
}

func printViews(command *cobra.Command, views savedViews) error {
	shown := text.Table{Heads: []string{"View", "Columns", "Query"}, MaxCell: maxCell}
	for _, table := range slices.Sorted(maps.Keys(views)) {
		for _, name := range slices.Sorted(maps.Keys(views[table])) {
			saved := views[table][name]
			columns := "–"
			if len(saved.Columns) > 0 {
				columns = fmt.Sprint(len(saved.Columns))
			}
			shown.Rows = append(shown.Rows, []string{table + "/" + name, columns, "/v1/admin/" + table + "?" + saved.Query.Values().Encode()})
		}
	}
	if len(shown.Rows) == 0 {
		_, err := fmt.Fprintln(command.OutOrStdout(), "No view was saved yet.")
		return err
	}
	return writeText(command.OutOrStdout(), shown.String())
}
