package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"prlagent/cmd/prlportal/site"
)

// presenter shows each client the portal's certificate, and a renewed one without
// a new start.
type presenter struct {
	folder string
	now    func() time.Time
	log    zerolog.Logger

	mutex    sync.Mutex
	pairs    []tls.Certificate
	seen     string // how the files were when they were read
	warnedAt time.Time
}

func newPresenter(folder string, now func() time.Time, log zerolog.Logger) (*presenter, error) {
	pairs, err := site.ServedPairs(folder)
	if err != nil {
		return nil, err
	}
	p := &presenter{folder: folder, now: now, log: log, pairs: pairs, seen: stamp(folder)}
	p.warn()
	return p, nil
}

// forClient is tls.Config.GetCertificate.
func (p *presenter) forClient(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if seen := stamp(p.folder); seen != p.seen {
		p.reload(seen)
	}
	p.warn()
	return site.ChoosePair(p.pairs, hello.ServerName, p.now()), nil
}

// reload keeps what it had where the files cannot be used: they may be half
// written, and are looked at again once they change.
func (p *presenter) reload(seen string) {
	p.seen = seen
	pairs, err := site.ServedPairs(p.folder)
	if err != nil {
		p.log.Error().Err(err).Msg("the certificate's files changed and cannot be used; the one of before is shown")
		return
	}
	p.pairs = pairs
	p.log.Info().Int("certificates", len(pairs)).Msg("certificate read again")
}

// warn says once a day that the last certificate ends soon.
func (p *presenter) warn() {
	end, now := site.EndOf(leavesOf(p.pairs)), p.now()
	if end.Sub(now) > site.ExpiryWarning || now.Sub(p.warnedAt) < 24*time.Hour {
		return
	}
	p.warnedAt = now
	p.log.Warn().Time("end", end).Msg("the portal's certificate ends soon, and Macs will not connect any more: run 'prlportal certificate renew' and put a new profile on the Macs")
}

func (p *presenter) leaves() []*x509.Certificate {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return leavesOf(p.pairs)
}

func leavesOf(pairs []tls.Certificate) []*x509.Certificate {
	leaves := make([]*x509.Certificate, len(pairs))
	for i, pair := range pairs {
		leaves[i] = pair.Leaf
	}
	return leaves
}

// stamp changes when one of the files is replaced.
func stamp(folder string) string {
	var all string
	for _, name := range []string{site.CertificateFile, site.TLSKeyFile, site.NextCertificateFile} {
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil {
			all += fmt.Sprintf("%s %d %d;", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return all
}
