package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/adminapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/webhook"
	"prlagent/platform/text"
)

func newWebhookCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "webhook",
		Short: "Have the portal tell another program what happens",
		Long: `Webhook has the portal send a signed request for what happens on the Macs: a virtual
machine against the policy (vm.unprovisioned), a policy or a setting that failed
(policy.failed), a Mac that is not heard of (device.stale), and others. Requests are
as Standard Webhooks has them (standardwebhooks.com); the body is WebhookMessage of
openapi.yaml.

Set, show, rotate and disable work in the portal's folder, on its machine: a portal
that runs needs no new start. Status and test ask the portal.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newWebhookSetCommand(), newWebhookShowCommand(), newWebhookRotateCommand(), newWebhookDisableCommand(),
		newWebhookStatusCommand(), newWebhookTestCommand())
	return command
}

// secretFrom is the secret that a file begins with, or a new one.
func secretFrom(file string) (site.WebhookSecret, error) {
	if file == "" {
		return site.NewWebhookSecret(), nil
	}
	return site.ReadWebhookSecret(file)
}

func newWebhookSetCommand() *cobra.Command {
	var secretFile string
	command := folderCommand(&cobra.Command{
		Use: "set URL --dir DIR/portal", Short: "Say where the messages go", Args: cobra.ExactArgs(1),
		Long: `Set gives the webhook its URL: https, or http on this machine itself. A secret is made
for each receiver, or read from the file that --secret-file names (whsec_ and base64,
on the first line); it stays where only the path of the URL is another one. It is kept
in webhook.secret of the portal's folder, and printed nowhere.

A receiver that answered 410 Gone is asked again.`,
		Example: `  prlportal webhook set https://hooks.example.com/prlagent --dir portal
  prlportal webhook set https://hooks.example.com/prlagent --dir portal --secret-file hook.secret`,
	}, func(out io.Writer, folder string, args []string) error {
		address := text.TrimTyped(args[0])
		if _, err := site.ParseWebhookURL(address); err != nil {
			return usageError(err.Error())
		}
		return setWebhook(out, folder, address, secretFile)
	})
	command.Flags().StringVar(&secretFile, "secret-file", "", "file with the secret that signs (default: that of the same receiver, or a new one)")
	return command
}

func setWebhook(out io.Writer, folder, address, secretFile string) error {
	hook, err := site.LoadWebhook(folder)
	if err != nil && !errors.Is(err, site.ErrNoWebhook) && secretFile == "" {
		return fmt.Errorf("%w; give the secret with --secret-file, or disable the webhook first", err)
	}
	if len(hook.Secrets) == 0 || secretFile != "" || !site.IsSameReceiver(hook.URL, address) {
		secret, err := secretFrom(secretFile)
		if err != nil {
			return err
		}
		hook.Secrets = []site.WebhookSecret{secret}
	}
	hook.URL, hook.SetAt = address, time.Now().UTC()
	if err := hook.Save(folder); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Messages go to %s.\nThe receiver checks them with the secret on the first line of %s.\nNext: 'prlportal webhook test'.\n",
		text.DisplayValue(address), text.DisplayValue(filepath.Join(folder, site.WebhookSecretFile)))
	return err
}

// shownWebhook is the webhook's configuration without its secrets.
type shownWebhook struct {
	Configured   bool      `json:"configured"`
	URL          string    `json:"url,omitempty"`
	SetAt        time.Time `json:"set_at,omitzero"`
	SecretFile   string    `json:"secret_file,omitempty"`
	OverlapUntil time.Time `json:"overlap_until,omitzero"` // the secret before the present one signs as well
}

func newWebhookShowCommand() *cobra.Command {
	var asJSON *bool
	command := folderCommand(&cobra.Command{
		Use: "show --dir DIR/portal", Short: "Show where the messages go", Args: cobra.NoArgs,
		Long:    "Show prints the webhook's URL and which file has its secret, and never a secret.",
		Example: "  prlportal webhook show --dir portal\n  prlportal webhook show --dir portal --json",
	}, func(out io.Writer, folder string, _ []string) error {
		shown, err := showWebhook(folder)
		if err != nil {
			return err
		}
		return showAs(out, *asJSON, shown, printWebhook)
	})
	asJSON = addJSONFlag(command)
	return command
}

func showWebhook(folder string) (shownWebhook, error) {
	hook, err := site.LoadWebhook(folder)
	if errors.Is(err, site.ErrNoWebhook) {
		return shownWebhook{}, nil
	}
	if err != nil {
		return shownWebhook{}, err
	}
	shown := shownWebhook{Configured: true, URL: hook.URL, SetAt: hook.SetAt, SecretFile: filepath.Join(folder, site.WebhookSecretFile)}
	for _, secret := range hook.Signing(time.Now()) {
		shown.OverlapUntil = secret.Until
	}
	return shown, nil
}

func printWebhook(out io.Writer, shown shownWebhook) error {
	if !shown.Configured {
		return writeText(out, "There is no webhook.\n")
	}
	lines := fmt.Sprintf("URL     %s\nSet     %s\nSecret  in %s\n", text.DisplayValue(shown.URL), localTime(shown.SetAt, time.Local), text.DisplayValue(shown.SecretFile))
	if !shown.OverlapUntil.IsZero() {
		lines += fmt.Sprintf("        the one before signs as well until %s\n", localTime(shown.OverlapUntil, time.Local))
	}
	return writeText(out, lines)
}

func newWebhookRotateCommand() *cobra.Command {
	var secretFile string
	var overlap time.Duration
	var atOnce bool
	command := folderCommand(&cobra.Command{
		Use: "rotate --dir DIR/portal", Short: "Replace the secret that signs", Args: cobra.NoArgs,
		Long: `Rotate makes another secret the present one, a new one or that of --secret-file. For as
long as --overlap says, messages have the signatures of both, so that the receiver
can be given the present one meanwhile. With --now the one before signs no more: where
somebody else may have it.`,
		Example: "  prlportal webhook rotate --dir portal\n  prlportal webhook rotate --dir portal --now",
	}, func(out io.Writer, folder string, _ []string) error {
		if overlap <= 0 {
			return usageError("--overlap is a time as 24h; for none give --now")
		}
		if atOnce {
			overlap = 0
		}
		return rotateSecret(out, folder, secretFile, overlap)
	})
	flags := command.Flags()
	flags.StringVar(&secretFile, "secret-file", "", "file with the secret that signs from now on (default: a new one)")
	flags.DurationVar(&overlap, "overlap", site.WebhookOverlap, "how long the secret before signs as well")
	flags.BoolVar(&atOnce, "now", false, "the secret before signs no more")
	return command
}

func rotateSecret(out io.Writer, folder, secretFile string, overlap time.Duration) error {
	hook, err := site.LoadWebhook(folder)
	if err != nil {
		return err
	}
	secret, err := secretFrom(secretFile)
	if err != nil {
		return err
	}
	if err := hook.Rotate(secret, overlap, time.Now()); err != nil {
		return err
	}
	if err := hook.Save(folder); err != nil {
		return err
	}
	before := "no more"
	if overlap > 0 {
		before = "as well until " + localTime(hook.Secrets[1].Until, time.Local)
	}
	return writeText(out, fmt.Sprintf("The present secret is on the first line of %s: give it to the receiver.\nThe one before signs %s.\n",
		text.DisplayValue(filepath.Join(folder, site.WebhookSecretFile)), before))
}

func newWebhookDisableCommand() *cobra.Command {
	return folderCommand(&cobra.Command{
		Use: "disable --dir DIR/portal", Short: "Send no messages any more", Args: cobra.NoArgs,
		Long:    "Disable takes away the webhook's URL and secret. Messages that wait are dropped, and counted.",
		Example: "  prlportal webhook disable --dir portal",
	}, func(out io.Writer, folder string, _ []string) error {
		if err := site.RemoveWebhook(folder); err != nil {
			return err
		}
		return writeText(out, "No messages are sent any more.\n")
	})
}

func newWebhookStatusCommand() *cobra.Command {
	return askingCommand(&cobra.Command{
		Use: "status --dir DIR", Short: "Show what waits, and how the receiver does", Args: cobra.NoArgs,
		Long: `Status shows how many messages wait and since when, how many were sent and dropped, and
the last error. It exits with 1 if a person should look: a message has waited for an
hour, or the receiver wants none any more.`,
		Example: "  prlportal webhook status --dir site/operator\n  prlportal webhook status --dir site/operator --json",
	}, (*adminapi.Client).WebhookStatus, func(out io.Writer, status webhook.Status) error {
		return printWebhookStatus(out, status, time.Local)
	}, func(status webhook.Status) error {
		if status.Condition == nil {
			return nil
		}
		return fmt.Errorf("%s %s", status.Condition.Text, status.Condition.Remedy)
	})
}

func printWebhookStatus(out io.Writer, status webhook.Status, zone *time.Location) error {
	if !status.Configured {
		return writeText(out, "There is no webhook.\n")
	}
	var lines strings.Builder
	line := func(name, value string) { fmt.Fprintf(&lines, "%-10s  %s\n", name, value) }
	since := func(words string, at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return words + localTime(at, zone)
	}
	line("Receiver", orEmpty(text.DisplayValue(status.Receiver)))
	signatures := strconv.Itoa(status.Signatures)
	line("Signatures", signatures+since(", the second until ", status.OverlapUntil))
	line("Waiting", strconv.Itoa(status.Queued)+since(", the oldest since ", status.OldestAt))
	line("Sent", strconv.Itoa(status.Sent)+since(", the last ", status.SentAt))
	line("Dropped", fmt.Sprintf("%d for want of room, %d after a day, %d when it was disabled", status.Dropped.Full, status.Dropped.Expired, status.Dropped.Cleared))
	if status.LastError != "" {
		line("Last error", text.DisplayValue(status.LastError)+since(", ", status.FailedAt))
	}
	if status.Failures > 0 {
		line("Failing", countOf(status.Failures, "attempt")+" in a row"+since(", the next ", status.RetryAt))
	}
	return writeText(out, lines.String())
}

func newWebhookTestCommand() *cobra.Command {
	return askingCommand(&cobra.Command{
		Use: "test --dir DIR", Short: "Send a test message and say what became of it", Args: cobra.NoArgs,
		Long:    "Test has the portal send one message of type webhook.test at once, without a retry; ten in a minute at most.",
		Example: "  prlportal webhook test --dir site/operator",
	}, (*adminapi.Client).TestWebhook, printWebhookTest, func(result webhook.TestResult) error {
		if result.Taken {
			return nil
		}
		return fmt.Errorf("%s has not taken the test message: %s", text.DisplayValue(result.Receiver), text.DisplayValue(result.Problem))
	})
}

func printWebhookTest(out io.Writer, result webhook.TestResult) error {
	if !result.Taken {
		return nil // the error says it
	}
	return writeText(out, fmt.Sprintf("%s has taken a test message (%d).\n", text.DisplayValue(result.Receiver), result.Status))
}
