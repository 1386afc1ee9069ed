package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Version is the protocol's major version, as sent in every check-in.
const Version = 1

// Limits of the wire (protocol.md 2.13). Bytes unless the name says otherwise.
const (
	MaxRequestGzip  = 256 << 10 // a check-in as sent
	MaxRequest      = 2 << 20   // a check-in after decompression
	MaxReply        = 1 << 20
	MaxHead         = 16 << 10
	MaxPolicy       = 256 << 10
	MaxDepth        = 16       // levels of JSON nesting
	MaxTokens       = 64 << 10 // JSON tokens of a request (H56)
	maxItems        = 8 << 10  // of one list of a request
	maxReplyTokens  = 16 << 10 // JSON tokens of an answer; a full one has some hundreds
	MaxVMs          = 200
	MaxEvents       = 1000
	MaxName         = 255
	MaxText         = 1 << 10
	MaxCommandReply = 8
	// MaxCommandReplyBytes is how long the payloads of the commands of one answer are
	// together: in base64, and with a list of holds beside them, they fit into MaxReply.
	MaxCommandReplyBytes = MaxHoldsCommand + MaxCommandReply*MaxCommand
)

// Errors that Decode and DecodeRequest report; all are refusals of the whole message.
var (
	ErrTooLarge      = errors.New("message is too large")
	ErrTooDeep       = errors.New("message is nested too deeply")
	ErrDuplicateKey  = errors.New("message has a duplicate key")
	ErrTrailingBytes = errors.New("message is followed by more bytes")
	// ErrTooManyTokens says that a message is small and yet much work.
	ErrTooManyTokens = errors.New("message has too many parts")
)

// Decode reads one JSON value of at most limit bytes into v, which must be a
// pointer to a fresh value. It refuses what two decoders could read
// differently: duplicate keys, trailing bytes, more than MaxDepth levels. Keys
// that differ in case only are duplicates too, because encoding/json takes
// either for the same field. Unknown fields are ignored.
func Decode(data []byte, limit int, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), limit)
	}
	if err := checkShape(data, shapeLimits{}); err != nil {
		return err
	}
	return unmarshal(data, v)
}

// DecodeRequest is Decode for what a device sends to a portal, whose work it
// bounds too: a body of 2 kB can unpack to a million tokens (H56).
func DecodeRequest(data []byte, v any) error {
	if err := CheckRequest(data); err != nil {
		return err
	}
	return unmarshal(data, v)
}

// DecodeReply is Decode for what a portal answers: a megabyte of the smallest
// values, which is a kilobyte when packed, would take a hundred of the daemon (H56).
func DecodeReply(data []byte, v any) error {
	if len(data) > MaxReply {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxReply)
	}
	if err := checkShape(data, shapeLimits{tokens: maxReplyTokens}); err != nil {
		return err
	}
	return unmarshal(data, v)
}

// CheckRequest is what DecodeRequest would refuse a body of JSON for.
func CheckRequest(data []byte) error {
	if len(data) > MaxRequest {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxRequest)
	}
	return checkShape(data, shapeLimits{tokens: MaxTokens, items: maxItems})
}

func unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

// ReadLimited reads r to its end, or fails with ErrTooLarge after limit bytes.
func ReadLimited(r io.Reader, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return data, nil
}

// CutText is text with at most limit bytes, cut at a character.
func CutText(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
