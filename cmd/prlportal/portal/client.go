package portal

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"prlagent/agent/protocol"
	"prlagent/platform/safefile"
)

const (
	clientTimeout = 30 * time.Second
	// maxAdminReply bounds a table: some ten thousand virtual machines.
	maxAdminReply = 256 << 20
)

// adminOptions say which portal an operator's command talks to.
type adminOptions struct {
	dir string
	url string
}

func (o *adminOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.dir, "dir", ".", "the site's folder, made by init")
	flags.StringVar(&o.url, "url", "", "the portal's URL (default: where it listens, else as made by init)")
}

// adminClient talks to the admin plane of a running portal.
type adminClient struct {
	base  *url.URL
	token string
	http  *http.Client
}

// portalURL is where the portal of this folder listens, or should.
func portalURL(folder string) (string, error) {
	listening, err := safefile.ReadFile(filepath.Join(folder, listeningFile), protocol.MaxText)
	if err == nil {
		return strings.TrimSpace(string(listening)), nil
	}
	config, err := loadConfig(folder)
	return config.URL, err
}

// open reads the admin token and the certificate from the portal's folder. The
// token goes to a portal with that very certificate and to no other.
func (o adminOptions) open() (*adminClient, error) {
	folder := filepath.Join(o.dir, portalFolder)
	if o.url == "" {
		var err error
		if o.url, err = portalURL(folder); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(o.url)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, usageError("--url must be an https URL")
	}
	token, err := readSecretFile(filepath.Join(folder, adminTokenFile))
	if err != nil {
		return nil, err
	}
	certificates, err := loadCertificates(filepath.Join(folder, certificateFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, der := range certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		pool.AddCert(certificate)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return &adminClient{base: base, token: token, http: &http.Client{
		Transport: transport, Timeout: clientTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *adminClient) close() { c.http.CloseIdleConnections() }

// do sends body, if it is not nil, as JSON and decodes the answer into reply.
func (c *adminClient) do(ctx context.Context, method string, path []string, body, reply any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path...).String(), bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the portal: %w", err)
	}
	defer response.Body.Close()
	data, err := protocol.ReadLimited(response.Body, maxAdminReply)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		if problem, ours := protocol.ParseProblem(response.StatusCode, response.Header.Get("Content-Type"), data); ours {
			return problem
		}
		return fmt.Errorf("ask the portal: it answered %s", response.Status)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // an inode does not fit a float
	if err := decoder.Decode(reply); err != nil {
		return errors.New("the portal's answer is not what was asked for")
	}
	return nil
}

func (c *adminClient) devices(ctx context.Context) (deviceList, error) {
	var list deviceList
	err := c.do(ctx, http.MethodGet, []string{"v1", "admin", "devices"}, nil, &list)
	return list, err
}

func (c *adminClient) approve(ctx context.Context, deviceID string, asked approval) (deviceView, error) {
	var view deviceView
	err := c.do(ctx, http.MethodPost, []string{"v1", "admin", "devices", deviceID, "approve"}, asked, &view)
	return view, err
}
