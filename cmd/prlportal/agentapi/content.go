package agentapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/site"
)

// Cache rules of protocol.md 2.3.
const (
	cacheHead   = "max-age=60"
	cachePolicy = "public, max-age=31536000, immutable"
)

var policyName = regexp.MustCompile(`^[0-9a-f]{64}\.json$`)

// serveHead serves a group's head. Content is signed or pinned by a signed hash,
// can be copied to any web server, and so needs no token here.
func (s *Server) serveHead(w http.ResponseWriter, r *http.Request) error {
	group, isHead := site.GroupOfHead(r.PathValue("file"))
	if !isHead {
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}
	return s.serveContent(w, r, site.HeadPath(group), protocol.MaxHead, cacheHead)
}

// servePolicy serves a policy document by its hash.
func (s *Server) servePolicy(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	if !policyName.MatchString(name) {
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}
	return s.serveContent(w, r, site.PolicyPath(name), protocol.MaxPolicy, cachePolicy)
}

func (s *Server) serveContent(w http.ResponseWriter, r *http.Request, path string, limit int, cache string) error {
	data, err := s.readContent(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.NewProblem(protocol.ProblemNotFound, "")
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	header := w.Header()
	header.Set("ETag", etag)
	header.Set("Cache-Control", cache)
	if matchesETag(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", "application/json")
	_, _ = w.Write(data) // a client that is gone is no failure of ours
	return nil
}

// matchesETag is the weak comparison of RFC 9110, 13.1.2.
func matchesETag(ifNoneMatch, etag string) bool {
	for candidate := range strings.SplitSeq(ifNoneMatch, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == etag || candidate == "*" {
			return true
		}
	}
	return false
}

// readContent reads a regular file that cannot lie outside the content folder.
func (s *Server) readContent(path string, limit int) ([]byte, error) {
	file, err := s.content.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	return protocol.ReadLimited(file, limit)
}

// policyHint tells an agent which head it would get: read and not verified,
// because only the agent's own keys can. Without a readable head there is no
// hint.
func (s *Server) policyHint(group string) *protocol.Hint {
	head, err := s.readHead(group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.log.Warn().Str("group", group).Err(err).Msg("head cannot be read")
		return nil
	}
	hint := &protocol.Hint{HeadVersion: head.HeadVersion}
	if head.Policy != nil {
		hint.SHA256 = head.Policy.SHA256
	}
	return hint
}

func (s *Server) readHead(group string) (protocol.Head, error) {
	data, err := s.readContent(site.HeadPath(group), protocol.MaxHead)
	if err != nil {
		return protocol.Head{}, err
	}
	return protocol.PeekHead(data)
}
