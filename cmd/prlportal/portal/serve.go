package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/safefile"
	"prlagent/platform/text"
)

// Time limits of the HTTP server.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 30 * time.Second
	writeTimeout    = 60 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 16 << 10
)

type serveOptions struct {
	folder    string
	listen    string
	readyFile string
	logLevel  string
}

func newServeCommand() *cobra.Command {
	var options serveOptions
	command := &cobra.Command{
		Use:   "serve --dir DIR/portal",
		Short: "Run the portal",
		Long: `Serve answers agents and the operator's commands until SIGTERM or an interrupt.
Its log is JSON lines on standard error; standard output gets one line with the
portal's URL when it is ready.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			level, err := zerolog.ParseLevel(options.logLevel)
			if err != nil {
				return usageError("--log-level is one of debug, info, warn, error")
			}
			log := newLog(command.ErrOrStderr(), level)
			options.folder = servedFolder(options.folder)
			return serve(command.Context(), options, log, func(address string) error {
				_, err := fmt.Fprintln(command.OutOrStdout(), "prlportal serves", address)
				return err
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.folder, "dir", portalFolder, "the portal's folder, or its site's, made by init")
	flags.StringVar(&options.listen, "listen", "127.0.0.1:"+defaultPort, "address and port; port 0 takes a free one")
	flags.StringVar(&options.readyFile, "ready-file", "", "file that gets the portal's URL when it is ready")
	flags.StringVar(&options.logLevel, "log-level", "info", "debug, info, warn or error")
	return command
}

// newLog is the portal's log. Whatever a line of it has of Macs and of those
// who connect can neither steer a terminal nor fill the disk (H15).
func newLog(out io.Writer, level zerolog.Level) zerolog.Logger {
	return zerolog.New(text.LogWriter{Out: out}).Level(level).With().Timestamp().Logger()
}

// serve runs the portal until ctx ends, then finishes the requests at hand.
// It calls ready with the portal's URL once connections are accepted.
func serve(ctx context.Context, options serveOptions, log zerolog.Logger, ready func(string) error) (err error) {
	config, err := loadConfig(options.folder)
	if err != nil {
		return err
	}
	if err := refuseSigningKeys(options.folder); err != nil {
		return err
	}
	warnOfOperator(options.folder, log)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(options.folder, certificateFile), filepath.Join(options.folder, tlsKeyFile))
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	content, err := os.OpenRoot(filepath.Join(options.folder, contentFolder))
	if err != nil {
		return fmt.Errorf("open content folder: %w", err)
	}
	defer content.Close()
	database, err := storage.OpenBolt(filepath.Join(options.folder, databaseFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	listener, err := net.Listen("tcp", options.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	handler := newServer(config, database, content, log, time.Now)
	address := publicURL(listener.Addr(), config)
	return run(ctx, newHTTPServer(handler, certificate, log), listener, func() error {
		log.Info().Str("url", address).Str("site", config.SiteID).Str("version", programVersion()).Msg("ready")
		listening := filepath.Join(options.folder, listeningFile)
		return errors.Join(writeReadyFile(listening, address), writeReadyFile(options.readyFile, address), ready(address))
	})
}

// refuseSigningKeys holds H31: what the portal can read, a thief of the portal
// can read. Only its TLS key may lie in its folder.
func refuseSigningKeys(folder string) error {
	keys, err := filepath.Glob(filepath.Join(folder, "*.key"))
	if err != nil {
		return fmt.Errorf("look for keys: %w", err)
	}
	for _, key := range keys {
		if filepath.Base(key) != tlsKeyFile {
			return fmt.Errorf("%s lies in the portal's folder; move it to the operator's folder", filepath.Base(key))
		}
	}
	return nil
}

// warnOfOperator says that the operator's folder, as init made it, still lies
// beside the portal's where the portal could read it.
func warnOfOperator(folder string, log zerolog.Logger) {
	beside := filepath.Join(filepath.Dir(folder), operatorFolder)
	if key, err := os.Open(filepath.Join(beside, policyKeyFile)); err == nil {
		key.Close()
		log.Warn().Str("folder", beside).Msg("the signing keys are readable to the portal; move this folder to the operator's machine")
	}
}

// newHTTPServer limits every phase of a connection. Session tickets are Go's
// default, and most of what a check-in costs is saved by them (protocol.md 4.1).
func newHTTPServer(handler http.Handler, certificate tls.Certificate, log zerolog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:          stdlog.New(connectionLog{log}, "", 0),
	}
}

// connectionLog takes net/http's own complaints, such as failed handshakes.
type connectionLog struct{ log zerolog.Logger }

func (c connectionLog) Write(line []byte) (int, error) {
	c.log.Debug().Str("detail", strings.TrimSpace(string(line))).Msg("connection failed")
	return len(line), nil
}

// run serves until ctx ends and then shuts down within shutdownTimeout.
func run(ctx context.Context, web *http.Server, listener net.Listener, ready func() error) error {
	failed := make(chan error, 1)
	go func() { failed <- web.ServeTLS(listener, "", "") }()
	if err := ready(); err != nil {
		return errors.Join(err, web.Close(), served(<-failed))
	}
	select {
	case err := <-failed:
		return served(err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := web.Shutdown(limit)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down: %w", err), web.Close())
	}
	return errors.Join(err, served(<-failed))
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// publicURL is how the portal is reached: its own address, or where it listens
// on all of them, the name of the configuration with the listener's port.
func publicURL(address net.Addr, config Config) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return config.URL
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if configured, err := url.Parse(config.URL); err == nil {
			host = configured.Hostname()
		}
	}
	public := url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}
	return public.String()
}

func writeReadyFile(path, address string) error {
	if path == "" {
		return nil
	}
	if err := safefile.WriteFile(path, []byte(address+"\n"), 0o600); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}
