package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/audit"
	"prlagent/cmd/prlportal/backup"
	"prlagent/cmd/prlportal/httpapi"
	"prlagent/cmd/prlportal/site"
	"prlagent/cmd/prlportal/storage"
	"prlagent/platform/safefile"
)

// Time limits of the HTTP server.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 16 << 10
)

// Options say what to serve, and where.
type Options struct {
	Folder    string
	Listen    string
	ReadyFile string // gets the portal's URL when it is ready; none where empty
	Version   string // of the program, for the log
	Demo      bool   // serve although signing keys can be read here, to try things
}

// Serve runs the portal until ctx ends, then finishes the requests at hand.
// It calls ready with the portal's URL once connections are accepted.
func Serve(ctx context.Context, options Options, log zerolog.Logger, ready func(string) error) (err error) {
	config, err := site.LoadConfig(options.Folder)
	if err != nil {
		return err
	}
	if err := checkSigningKeys(options, log); err != nil {
		return err
	}
	shown, err := newPresenter(options.Folder, time.Now, log)
	if err != nil {
		return err
	}
	book, err := admins.Open(filepath.Join(options.Folder, site.AdminsFile), config.AdminTokenSHA256)
	if err != nil {
		return err
	}
	content, err := os.OpenRoot(filepath.Join(options.Folder, site.ContentFolder))
	if err != nil {
		return fmt.Errorf("open content folder: %w", err)
	}
	defer content.Close()
	database, err := storage.OpenBolt(filepath.Join(options.Folder, site.DatabaseFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	restoredAt, err := site.LoadRestored(options.Folder)
	if err != nil {
		return err
	}
	if err := WithholdRestored(ctx, database, restoredAt, log, time.Now().UTC()); err != nil {
		return err
	}
	record, err := openRecord(ctx, filepath.Join(options.Folder, site.AuditFile), database, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	listener, err := net.Listen("tcp", options.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("another program listens at %s already; end it, or take another port with --listen", options.Listen)
	}
	if address := new(net.AddrError); errors.As(err, &address) {
		return fmt.Errorf("--listen %q is no address and port; give one as :%s or 192.0.2.7:%s (%s)", options.Listen, site.DefaultPort, site.DefaultPort, address.Err)
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	address := publicURL(listener.Addr(), config)
	config.Origins = append(config.Origins, ownOrigins(config, address, shown.leaves())...)
	portal := New(Parts{
		Config: config, Store: database, Queue: database, Admins: book, Version: options.Version, Record: record, Log: log, Now: time.Now,
		CertificateEnd: func() time.Time { return site.EndOf(shown.leaves()) }, RestoredAt: restoredAt,
		Source: backup.Source{Folder: options.Folder, Content: content, Database: database},
	})
	defer runBeside(ctx, portal.Webhook.Run)()
	return serveUntilDone(ctx, newHTTPServer(portal.Handler, shown.forClient, log), listener, func() error {
		log.Info().Str("url", address).Str("site", config.SiteID).Str("version", options.Version).Msg("ready")
		listening := map[string]string{site.ListeningFile: localURL(listener.Addr(), address, shown.leaves()), site.LocalTokenFile: book.AddLocal(time.Now())}
		for name, content := range listening {
			if err := writeReadyFile(filepath.Join(options.Folder, name), content); err != nil {
				return err
			}
		}
		return errors.Join(writeReadyFile(options.ReadyFile, address), ready(address))
	})
}

// openRecord replays the audit log and opens it. That it was changed is written into it:
// the next decision takes its newest line for the one that the database knows.
func openRecord(ctx context.Context, path string, store replayStore, log zerolog.Logger) (*audit.Log, error) {
	now := time.Now().UTC()
	changed, err := ReplayAudit(ctx, path, store, log, now)
	if err != nil {
		return nil, err
	}
	record, err := audit.Open(path)
	if err != nil || changed == nil {
		return record, err
	}
	if err := record.Append(audit.Entry{At: now, Action: audit.ActionLogChanged, Outcome: audit.OutcomeFound, Reason: changed.Error()}); err != nil {
		return nil, errors.Join(err, record.Close())
	}
	return record, nil
}

// runBeside runs work until ctx ends, or until it is told to end and has.
func runBeside(ctx context.Context, work func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// localURL is how the portal is reached on its own machine: where it listens on
// all addresses, by the name of loopback, which a certificate of init has.
func localURL(address net.Addr, public string, certificates []*x509.Certificate) string {
	host, port, err := net.SplitHostPort(address.String())
	local := url.URL{Scheme: "https", Host: net.JoinHostPort("localhost", port)}
	ip := net.ParseIP(host)
	if err != nil || ip == nil || !ip.IsUnspecified() || site.CheckCovered(&local, certificates) != nil {
		return public
	}
	return local.String()
}

// newHTTPServer limits every phase of a connection. Session tickets are Go's
// default, and most of what a check-in costs is saved by them (protocol.md 4.1).
func newHTTPServer(handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), log zerolog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      httpapi.WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         newConnectionLimiter(maxConnectionsPerSource, maxConnections).onState,
		TLSConfig:         &tls.Config{GetCertificate: certificate, MinVersion: tls.VersionTLS12},
		ErrorLog:          stdlog.New(connectionLog{log}, "", 0),
	}
}

// connectionLog takes net/http's own complaints, such as failed handshakes.
type connectionLog struct{ log zerolog.Logger }

func (c connectionLog) Write(line []byte) (int, error) {
	c.log.Debug().Str("detail", strings.TrimSpace(string(line))).Msg("connection failed")
	return len(line), nil
}

// serveUntilDone serves until ctx ends and then shuts down within
// shutdownTimeout.
func serveUntilDone(ctx context.Context, web *http.Server, listener net.Listener, ready func() error) error {
	failed := make(chan error, 1)
	go func() { failed <- web.ServeTLS(listener, "", "") }()
	if err := ready(); err != nil {
		return errors.Join(err, web.Close(), serveError(<-failed))
	}
	select {
	case err := <-failed:
		return serveError(err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := web.Shutdown(limit)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down: %w", err), web.Close())
	}
	return errors.Join(err, serveError(<-failed))
}

func serveError(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// publicURL is how the portal is reached: its own address, or where it listens
// on all of them, the name of the configuration with the listener's port.
func publicURL(address net.Addr, config site.Config) string {
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

// ownOrigins are the URLs of the names in the portal's certificates, at the port
// that it listens on and at that of its configured URL. An agent that checks the
// certificate reaches nobody else there.
func ownOrigins(config site.Config, address string, certificates []*x509.Certificate) []string {
	origins := []string{address}
	var names []string
	for _, certificate := range certificates {
		names = append(names, site.HostsOf(certificate)...)
	}
	for _, known := range []string{config.URL, address} {
		location, err := url.Parse(known)
		if err != nil {
			continue
		}
		for _, name := range names {
			made := url.URL{Scheme: "https", Host: net.JoinHostPort(name, cmp.Or(location.Port(), "443"))}
			origins = append(origins, made.String())
		}
	}
	return origins
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
