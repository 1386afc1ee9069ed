package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"prlagent/agent/protocol"
)

func showURL(location *url.URL) string {
	if location == nil {
		return ""
	}
	return location.String()
}

func showProxy(c *Config) string {
	if c.Proxy == nil {
		return ""
	}
	return c.Proxy.Redacted()
}

func exactProxy(c *Config) string { return showURL(c.Proxy) }

func showSecret(secret Secret) string {
	if secret == "" {
		return ""
	}
	return secret.String()
}

func showKeys(trusted []protocol.TrustedKey) string {
	ids := make([]string, len(trusted))
	for i, key := range trusted {
		ids[i] = key.ID
	}
	return strings.Join(ids, ", ")
}

func exactKeys(trusted []protocol.TrustedKey) string {
	var text strings.Builder
	for _, key := range trusted {
		text.WriteString(hex.EncodeToString(key.Key))
	}
	return text.String()
}

func showThreshold(c *Config) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(c.CommandThreshold)) {
		part := fmt.Sprintf("%s: %d", kind, c.CommandThreshold[kind])
		if c.CommandThreshold[kind] == 0 {
			part = kind + ": not run"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func showPolicy(c *Config) string {
	switch policy := c.Policy; {
	case policy.Releases():
		return "none, by an empty dictionary"
	case policy.Refused:
		return "the last good one"
	case policy.Given:
		return fmt.Sprintf("%s, revision %d", policy.Pointer.PolicyID, policy.Pointer.Revision)
	}
	return ""
}

func showCertificates(c *Config) string {
	names := make([]string, len(c.ServerCertificates))
	for i, parsed := range c.ServerCertificates {
		names[i] = parsed.Subject.String()
	}
	return strings.Join(names, "; ")
}

func exactCertificates(c *Config) string {
	sum := sha256.New()
	for _, parsed := range c.ServerCertificates {
		sum.Write(parsed.Raw)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// showTiming names what is not at the protocol's pace.
func showTiming(c *Config) string {
	usual := protocol.DefaultTiming()
	var changed []string
	if c.Timing.BucketSize != usual.BucketSize {
		changed = append(changed, fmt.Sprintf("%s %d", bucketSize.name, c.Timing.BucketSize))
	}
	for _, row := range protocol.Timings() {
		if *row.Field(&c.Timing) != *row.Field(&usual) {
			changed = append(changed, fmt.Sprintf("%s %s", row.Name, *row.Field(&c.Timing)))
		}
	}
	return strings.Join(changed, ", ")
}
