package adminapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/admins"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/query"
)

const (
	clientTimeout = 30 * time.Second
	// maxAdminReply bounds an answer in one piece: a page of the longest rows.
	maxAdminReply = 32 << 20
	// maxAdminRow bounds a line of a stream.
	maxAdminRow = 1 << 20
)

// Client talks to the admin plane of a running portal.
type Client struct {
	baseURL    *url.URL
	adminToken string
	httpClient *http.Client
}

// NewClient makes a client for the portal at base. The token goes to a portal
// with one of the certificates and to no other.
func NewClient(base *url.URL, token string, certificates *x509.CertPool) *Client {
	transport := &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: certificates, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   clientTimeout,
		ResponseHeaderTimeout: clientTimeout, // a stream may take longer as a whole
	}
	return &Client{baseURL: base, adminToken: token, httpClient: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.httpClient.CloseIdleConnections() }

// exchangeJSON sends body, if it is not nil, as JSON and decodes the answer
// into reply.
func (c *Client) exchangeJSON(ctx context.Context, method string, elements []string, body, reply any) error {
	return c.exchangeWith(ctx, method, c.baseURL.JoinPath(elements...), body, reply)
}

func (c *Client) exchangeWith(ctx context.Context, method string, target *url.URL, body, reply any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	response, err := c.doRequest(ctx, method, target, content, "application/json")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := protocol.ReadLimited(response.Body, maxAdminReply)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, reply); err != nil {
		return errUnexpected
	}
	return nil
}

var errUnexpected = errors.New("the portal's answer is not what was asked for")

// doRequest gives an answer that is no error; its body is to be closed.
func (c *Client) doRequest(ctx context.Context, method string, target *url.URL, content []byte, accept string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+c.adminToken)
	request.Header.Set("Accept", accept)
	response, err := c.httpClient.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	data, err := protocol.ReadLimited(response.Body, protocol.MaxReply)
	if err != nil {
		return nil, err
	}
	if problem, ours := protocol.ParseProblem(response.StatusCode, response.Header.Get("Content-Type"), data); ours {
		if problem.Name() == protocol.ProblemUnauthenticated {
			return nil, errToken
		}
		return nil, problem
	}
	return nil, fmt.Errorf("ask the portal: it answered %s", response.Status)
}

// errToken says what to do where the portal does not know the token.
var errToken = errors.New("the portal does not know this admin token, or it was revoked; give another one with --token-file, or ask an approver for one ('prlportal admins add')")

// explain says what to do where no answer came.
func (c *Client) explain(err error) error {
	place := c.baseURL.Redacted()
	var verification *tls.CertificateVerificationError
	var name *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("ask the portal: %w", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers at %s: start the portal there with 'prlportal serve', or say with --url where it is (connection refused)", place)
	case errors.As(err, &verification):
		return fmt.Errorf("what answers at %s shows another certificate than this site's: it is not the portal, or its certificate was renewed; compare with 'prlportal certificate' on the server and copy its tls.crt to the operator's portal.crt (%w)", place, verification.Err)
	case errors.As(err, &name):
		return fmt.Errorf("the name of %s is not known here: say with --url where the portal is (%w)", place, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s does not answer in time: see whether 'prlportal serve' runs there and the network lets it through (%w)", place, err)
	}
	return fmt.Errorf("ask the portal: %w", err)
}

// Rows calls visit with every row of a table that fits, or with those of the page
// that the query names; the last element of the path is the table's name. What it
// gives is a Page, or a ListInfo for a whole table.
func (c *Client) Rows(ctx context.Context, tablePath string, asked query.Query, visit func(json.RawMessage) error) (any, error) {
	if asked.Page == 0 && asked.PerPage == 0 {
		return c.streamRows(ctx, tablePath, asked, visit)
	}
	var reply map[string]json.RawMessage
	target, table := c.baseURL.JoinPath("v1", "admin", tablePath), path.Base(tablePath)
	target.RawQuery = asked.Values().Encode()
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	response, err := c.doRequest(ctx, http.MethodGet, target, nil, "application/json")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := protocol.ReadLimited(response.Body, maxAdminReply)
	if err != nil {
		return nil, err
	}
	var rows []json.RawMessage
	var part Page
	if json.Unmarshal(data, &reply) != nil || json.Unmarshal(reply[table], &rows) != nil || json.Unmarshal(data, &part) != nil || part.PerPage < 1 {
		return nil, errUnexpected
	}
	for _, row := range rows {
		if err := visit(row); err != nil {
			return nil, err
		}
	}
	return part, nil
}

// streamRows reads a whole table, a row at a time.
func (c *Client) streamRows(ctx context.Context, tablePath string, asked query.Query, visit func(json.RawMessage) error) (ListInfo, error) {
	target := c.baseURL.JoinPath("v1", "admin", tablePath)
	target.RawQuery = asked.Values().Encode()
	var about ListInfo
	err := c.readLines(ctx, target, visit, func(line []byte) error {
		var last streamEnd
		if json.Unmarshal(line, &last) != nil || last.End == nil {
			return errUnexpected
		}
		about = *last.End
		return nil
	})
	return about, err
}

// readLines reads a stream to its last line, which end takes.
func (c *Client) readLines(ctx context.Context, target *url.URL, visit func(json.RawMessage) error, end func([]byte) error) error {
	response, err := c.doRequest(ctx, http.MethodGet, target, nil, StreamType)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, streamBuffer), maxAdminRow)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), endPrefix) {
			return end(lines.Bytes())
		}
		if err := visit(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return errors.New("the portal's answer broke off; try again")
}

// endPrefix begins the last line of a stream and no other.
var endPrefix = []byte(`{"end":`)

// Devices are all devices.
func (c *Client) Devices(ctx context.Context) ([]fleet.Device, error) {
	var list []fleet.Device
	_, err := c.streamRows(ctx, fleet.DeviceTable.Name, query.Query{}, func(data json.RawMessage) error {
		var device fleet.Device
		if err := json.Unmarshal(data, &device); err != nil {
			return errUnexpected
		}
		list = append(list, device)
		return nil
	})
	return list, err
}

// Device is one device with all that is known of it, a DeviceDetail.
func (c *Client) Device(ctx context.Context, deviceID string) (json.RawMessage, error) {
	device, err := pathElement(deviceID)
	if err != nil {
		return nil, err
	}
	var detail json.RawMessage
	err = c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "devices", device}, nil, &detail)
	return detail, err
}

// EventsOf is the path of the table of one device's events, for Rows.
func EventsOf(deviceID string) (path string, err error) {
	device, err := pathElement(deviceID)
	return fleet.DeviceTable.Name + "/" + device + "/" + fleet.EventTable.Name, err
}

// pathElement is an id, which is what the portal said, as one element of a path.
func pathElement(id string) (string, error) {
	if id == "" || strings.HasPrefix(id, ".") {
		return "", errUnexpected
	}
	return url.PathEscape(id), nil
}

// Decide sends a decision, one of the actions of package audit, and gives the
// device as it is then.
func (c *Client) Decide(ctx context.Context, action, deviceID string, asked Decision) (fleet.Device, error) {
	device, err := pathElement(deviceID)
	if err != nil {
		return fleet.Device{}, err
	}
	var view fleet.Device
	err = c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "devices", device, action}, asked, &view)
	return view, err
}

// Certificates are what Macs and operators must trust, in DER.
func (c *Client) Certificates(ctx context.Context) ([][]byte, error) {
	var list certificateList
	err := c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "certificates"}, nil, &list)
	if err == nil && len(list.Certificates) == 0 {
		err = errUnexpected
	}
	return list.Certificates, err
}

// Admins are all admins, also those that were revoked.
func (c *Client) Admins(ctx context.Context) ([]Admin, error) {
	var list adminList
	err := c.exchangeJSON(ctx, http.MethodGet, []string{"v1", "admin", "admins"}, nil, &list)
	return list.Admins, err
}

// AddAdmin makes an admin and gives the token.
func (c *Client) AddAdmin(ctx context.Context, name string, role admins.Role) (NewAdmin, error) {
	var made NewAdmin
	err := c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "admins"}, adminWanted{Name: name, Role: role}, &made)
	return made, err
}

// RevokeAdmin ends an admin's token.
func (c *Client) RevokeAdmin(ctx context.Context, name string) (Admin, error) {
	var revoked Admin
	err := c.exchangeJSON(ctx, http.MethodPost, []string{"v1", "admin", "admins", url.PathEscape(name), "revoke"}, nil, &revoked)
	return revoked, err
}

// Backup writes a backup of the portal's folder. One that broke off may look
// whole until it is checked.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	response, err := c.doRequest(ctx, http.MethodGet, c.baseURL.JoinPath("v1", "admin", "backup"), nil, BackupType)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	return nil
}
