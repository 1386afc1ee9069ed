package checkin

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"prlagent/agent/protocol"
)

// What is wrong with an answer, or with what stands before it.
var (
	errUnknownEncoding = errors.New("answer has an unknown content encoding")
	errNotJSON         = errors.New("the answer is not JSON")
	errWebPage         = errors.New("the answer is a web page")
	errOverTime        = errors.New("the request took too long by the clock on the wall")
	errProxySignIn     = errors.New("the proxy asks for a user name and a password")
	errProxyRefused    = errors.New("the proxy refused to connect")
)

// networkFailures says what each reason for having no answer is called; the
// first row that fits counts, and none is portal_unreachable.
var networkFailures = []struct {
	is   *error           // the reason itself, or else
	fits func(error) bool // what tells it
	code protocol.Code
}{
	{is: &errOverTime, code: protocol.CodePortalTimeout},
	{is: &context.Canceled, code: protocol.CodePortalUnreachable}, // the agent stops
	{is: &errProxySignIn, code: protocol.CodeProxySignIn},
	{is: &errProxyRefused, code: protocol.CodeProxyRefused},
	{fits: isErrorType[x509.HostnameError], code: protocol.CodePortalWrongName},
	{fits: isExpired, code: protocol.CodePortalExpired},
	{fits: isErrorType[*tls.CertificateVerificationError], code: protocol.CodePortalCertificate},
	{fits: isErrorType[*net.DNSError], code: protocol.CodePortalDNS},
	{fits: isTimeout, code: protocol.CodePortalTimeout},
	{fits: isDial, code: protocol.CodePortalUnreachable},
	{fits: isInterrupted, code: protocol.CodePortalInterrupted},
	{fits: isTLS, code: protocol.CodePortalTLS},
	{fits: isNoHTTP, code: protocol.CodePortalOutage},
}

func isErrorType[T error](err error) bool {
	var found T
	return errors.As(err, &found)
}

// isExpired fits a certificate that is past its time, or before it.
func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// isDial fits a connection that never was.
func isDial(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial"
}

// isInterrupted fits a connection that broke off.
func isInterrupted(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func isTLS(err error) bool {
	return isErrorType[tls.RecordHeaderError](err) || isErrorType[tls.AlertError](err) || errors.Is(err, http.ErrSchemeMismatch) ||
		strings.Contains(err.Error(), "tls: ")
}

// isNoHTTP fits an answer that net/http cannot read; it has no type for that.
func isNoHTTP(err error) bool { return strings.Contains(err.Error(), "transport connection broken") }

// networkError says why there was no answer, without the URL: it may hold
// things that belong in no log.
func networkError(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	for _, row := range networkFailures {
		if row.is != nil && errors.Is(err, *row.is) || row.fits != nil && row.fits(err) {
			return withCode(row.code, plainError(err))
		}
	}
	return withCode(protocol.CodePortalUnreachable, plainError(err))
}

// plainError gives an error whose text quotes a stranger words of our own.
func plainError(err error) error {
	if isNoHTTP(err) {
		return errors.New("the answer is not HTTP")
	}
	return err
}

// bodyError tells a broken line from an answer that is not acceptable.
func bodyError(err error) error {
	switch {
	case errors.Is(err, protocol.ErrTooLarge):
		return withCode(protocol.CodePortalReplyTooLarge, err)
	case isTimeout(err), isInterrupted(err), errors.Is(err, context.Canceled):
		return networkError(err)
	}
	return withCode(protocol.CodePortalReplyInvalid, err)
}

// replyError is the error of an answer that arrived whole and makes no sense.
func replyError(err error) error {
	if errors.Is(err, errWebPage) {
		return withCode(protocol.CodePortalWebPage, err)
	}
	return withCode(protocol.CodePortalReplyInvalid, err)
}

// checkMedia refuses an answer that does not say that it is JSON.
func (a *portalAnswer) checkMedia() error {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case err != nil:
		return errNotJSON
	case media == "text/html" || media == "application/xhtml+xml":
		return errWebPage
	case media != "application/json":
		return errNotJSON
	}
	return nil
}

// isPermanent reports whether the portal itself called the failure one that no
// repetition mends (protocol.md 2.12): the next reason is soon enough.
func isPermanent(failure *exchangeError) bool {
	var problem protocol.Problem
	return errors.As(failure.Err, &problem) && problem.Retry == protocol.RetryNever && !isProbedHourly(failure.Code)
}

// foreignStatus is the name of a status of what stands between the Mac and the portal;
// empty for the others, which are outages.
func foreignStatus(status int) protocol.Code {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return protocol.CodePortalRedirect
	case http.StatusProxyAuthRequired:
		return protocol.CodeProxySignIn
	case http.StatusNetworkAuthenticationRequired:
		return protocol.CodeNetworkSignIn
	}
	return ""
}

// refusalError makes an error of an answer that is not the wanted one: a
// problem of our own table, or something in between that answered (H04).
func (c *Client) refusalError(a *portalAnswer) error {
	failure := &exchangeError{Code: cmp.Or(foreignStatus(a.status), protocol.CodePortalOutage)}
	if problem, ours := protocol.ParseProblem(a.status, a.header.Get("Content-Type"), a.body); ours {
		secrets := c.secrets()
		for _, text := range []*string{&problem.Title, &problem.Detail, &problem.Instance, &problem.Field} {
			*text = secrets.Redact(*text)
		}
		failure.Code, failure.Err = protocol.CodeOf(problem), problem
	} else {
		failure.Err = fmt.Errorf("something that is not the portal answered with status %d", a.status)
	}
	if wait, said := retryAfter(a.header, c.options.Now()); said {
		failure.RetryAfter = addJitter(wait)
	}
	if isProbedHourly(failure.Code) {
		failure.RetryAfter = max(failure.RetryAfter, addJitter(probeInterval))
	}
	return failure
}
