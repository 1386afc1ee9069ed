package cli

import (
	"context"
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

// webhookFolder is the portal's folder, which must be one.
func webhookFolder(dir string) (string, error) {
	folder, isThere := site.FindPortal(dir)
	if !isThere {
		return "", site.NoSite(dir, site.ConfigFile)
	}
	return folder, nil
}

// secretFrom is the secret that a file begins with, or a new one.
func secretFrom(file string) (site.WebhookSecret, error) {
	if file == "" {
		return site.NewWebhookSecret(), nil
	}
	return site.ReadWebhookSecret(file)
}

func newWebhookSetCommand() *cobra.Command {
	var dir, secretFile string
	command := &cobra.Command{
		Use: "set URL --dir DIR/portal", Short: "Say where the messages go", Args: cobra.ExactArgs(1),
		Long: `Set gives the webhook its URL: https, or http on this machine itself. A secret is made
for each receiver, or read from the file that --secret-file names (whsec_ and base64,
on the first line); it stays where only the path of the URL is another one. It is kept
in webhook.secret of the portal's folder, and printed nowhere.

A receiver that answered 410 Gone is asked again.`,
		Example: `  prlportal webhook set https://hooks.example.com/prlagent --dir portal
  prlportal webhook set https://hooks.example.com/prlagent --dir portal --secret-file hook.secret`,
		RunE: func(command *cobra.Command, args []string) error {
			folder, err := webhookFolder(dir)
			if err != nil {
				return err
			}
			typed := text.TrimTyped(args[0])
			if _, err := site.ParseWebhookURL(typed); err != nil {
				return usageError(err.Error())
			}
			return setWebhook(command.OutOrStdout(), folder, typed, secretFile)
		},
	}
	addPortalDir(command, &dir)
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
	var dir string
	var asJSON bool
	command := &cobra.Command{
		Use: "show --dir DIR/portal", Short: "Show where the messages go", Args: cobra.NoArgs,
		Long:    "Show prints the webhook's URL and which file has its secret, and never a secret.",
		Example: "  prlportal webhook show --dir portal\n  prlportal webhook show --dir portal --json",
		RunE: func(command *cobra.Command, _ []string) error {
			folder, err := webhookFolder(dir)
			if err != nil {
				return err
			}
			hook, err := site.LoadWebhook(folder)
			if err != nil && !errors.Is(err, site.ErrNoWebhook) {
				return err
			}
			shown := shownWebhook{Configured: err == nil}
			if shown.Configured {
				shown.URL, shown.SetAt, shown.SecretFile = hook.URL, hook.SetAt, filepath.Join(folder, site.WebhookSecretFile)
				for _, secret := range hook.Signing(time.Now()) {
					shown.OverlapUntil = secret.Until
				}
			}
			if asJSON {
				return printJSON(command.OutOrStdout(), shown)
			}
			return printWebhook(command.OutOrStdout(), shown)
		},
	}
	addPortalDir(command, &dir)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
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
	var dir, secretFile string
	var overlap time.Duration
	var atOnce bool
	command := &cobra.Command{
		Use: "rotate --dir DIR/portal", Short: "Replace the secret that signs", Args: cobra.NoArgs,
		Long: `Rotate makes another secret the present one, a new one or that of --secret-file. For as
long as --overlap says, messages have the signatures of both, so that the receiver
can be given the present one meanwhile. With --now the one before signs no more: where
somebody else may have it.`,
		Example: "  prlportal webhook rotate --dir portal\n  prlportal webhook rotate --dir portal --now",
		RunE: func(command *cobra.Command, _ []string) error {
			folder, err := webhookFolder(dir)
			if err != nil {
				return err
			}
			if overlap <= 0 {
				return usageError("--overlap is a time as 24h; for none give --now")
			}
			if atOnce {
				overlap = 0
			}
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
			words := "The one before signs no more.\n"
			if overlap > 0 {
				words = fmt.Sprintf("The one before signs as well until %s.\n", localTime(hook.Secrets[1].Until, time.Local))
			}
			return writeText(command.OutOrStdout(), fmt.Sprintf("The present secret is on the first line of %s: give it to the receiver.\n", text.DisplayValue(filepath.Join(folder, site.WebhookSecretFile)))+words)
		},
	}
	addPortalDir(command, &dir)
	flags := command.Flags()
	flags.StringVar(&secretFile, "secret-file", "", "file with the secret that signs from now on (default: a new one)")
	flags.DurationVar(&overlap, "overlap", site.WebhookOverlap, "how long the secret before signs as well")
	flags.BoolVar(&atOnce, "now", false, "the secret before signs no more")
	return command
}

func newWebhookDisableCommand() *cobra.Command {
	var dir string
	command := &cobra.Command{
		Use: "disable --dir DIR/portal", Short: "Send no messages any more", Args: cobra.NoArgs,
		Long:    "Disable takes away the webhook's URL and secret. Messages that wait are dropped, and counted.",
		Example: "  prlportal webhook disable --dir portal",
		RunE: func(command *cobra.Command, _ []string) error {
			folder, err := webhookFolder(dir)
			if err != nil {
				return err
			}
			if err := site.RemoveWebhook(folder); err != nil {
				return err
			}
			return writeText(command.OutOrStdout(), "No messages are sent any more.\n")
		},
	}
	addPortalDir(command, &dir)
	return command
}

func newWebhookStatusCommand() *cobra.Command {
	var admin adminOptions
	var asJSON bool
	command := &cobra.Command{
		Use: "status --dir DIR", Short: "Show what waits, and how the receiver does", Args: cobra.NoArgs,
		Long: `Status shows how many messages wait and since when, how many were sent and dropped, and
the last error. It exits with 1 if a person should look: a message has waited for an
hour, or the receiver wants none any more.`,
		Example: "  prlportal webhook status --dir site/operator\n  prlportal webhook status --dir site/operator --json",
		RunE: func(command *cobra.Command, _ []string) error {
			var status webhook.Status
			err := admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) (err error) {
				status, err = client.WebhookStatus(ctx)
				return err
			})
			if err == nil && asJSON {
				err = printJSON(command.OutOrStdout(), status)
			} else if err == nil {
				err = printWebhookStatus(command.OutOrStdout(), status, time.Local)
			}
			if err == nil && status.Condition != nil {
				err = fmt.Errorf("%s %s", status.Condition.Text, status.Condition.Remedy)
			}
			return err
		},
	}
	admin.addFlags(command)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// ask has a client do one thing.
func (o adminOptions) ask(ctx context.Context, work func(context.Context, *adminapi.Client) error) error {
	client, err := o.openClient()
	if err != nil {
		return err
	}
	defer client.Close()
	return work(ctx, client)
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
	var admin adminOptions
	var asJSON bool
	command := &cobra.Command{
		Use: "test --dir DIR", Short: "Send a test message and say what became of it", Args: cobra.NoArgs,
		Long:    "Test has the portal send one message of type webhook.test at once, without a retry.",
		Example: "  prlportal webhook test --dir site/operator",
		RunE: func(command *cobra.Command, _ []string) error {
			var result webhook.TestResult
			err := admin.ask(command.Context(), func(ctx context.Context, client *adminapi.Client) (err error) {
				result, err = client.TestWebhook(ctx)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(command.OutOrStdout(), result)
			} else if result.Taken {
				err = writeText(command.OutOrStdout(), fmt.Sprintf("%s has taken a test message (%d).\n", text.DisplayValue(result.Receiver), result.Status))
			}
			if err == nil && !result.Taken {
				err = fmt.Errorf("%s has not taken the test message: %s", text.DisplayValue(result.Receiver), text.DisplayValue(result.Problem))
			}
			return err
		},
	}
	admin.addFlags(command)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}
