package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
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
	maxDepth        = 16 // levels of JSON nesting
	MaxVMs          = 200
	MaxEvents       = 1000
	MaxName         = 255
	MaxText         = 1 << 10
	MaxCommandReply = 8
)

// Errors that Decode reports; both are refusals of the whole message.
var (
	ErrTooLarge      = errors.New("message is too large")
	ErrTooDeep       = errors.New("message is nested too deeply")
	ErrDuplicateKey  = errors.New("message has a duplicate key")
	ErrTrailingBytes = errors.New("message is followed by more bytes")
)

// Decode reads one JSON value of at most limit bytes into v, which must be a
// pointer to a fresh value. It refuses what two decoders could read
// differently: duplicate keys, trailing bytes, more than maxDepth levels. Keys
// that differ in case only are duplicates too, because encoding/json takes
// either for the same field. Unknown fields are ignored.
func Decode(data []byte, limit int, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), limit)
	}
	if err := checkShape(data); err != nil {
		return err
	}
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

// checkShape walks the tokens once: depth, duplicate keys, a single value.
func checkShape(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := checkValue(decoder, 0); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return ErrTrailingBytes
	}
	return nil
}

func checkValue(decoder *json.Decoder, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	delim, isDelim := token.(json.Delim)
	if !isDelim {
		return nil
	}
	if depth++; depth > maxDepth {
		return fmt.Errorf("%w: more than %d levels", ErrTooDeep, maxDepth)
	}
	if delim == '{' {
		return checkObject(decoder, depth)
	}
	for decoder.More() {
		if err := checkValue(decoder, depth); err != nil {
			return err
		}
	}
	return closeValue(decoder)
}

func checkObject(decoder *json.Decoder, depth int) error {
	seen := make(map[string]struct{})
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("decode message: %w", err)
		}
		text, _ := key.(string)
		name := foldCase(text)
		if _, twice := seen[name]; twice {
			return ErrDuplicateKey
		}
		seen[name] = struct{}{}
		if err := checkValue(decoder, depth); err != nil {
			return err
		}
	}
	return closeValue(decoder)
}

// foldCase gives keys that encoding/json would match the same name.
func foldCase(key string) string {
	return strings.Map(func(character rune) rune {
		lowest := character
		for next := unicode.SimpleFold(character); next != character; next = unicode.SimpleFold(next) {
			lowest = min(lowest, next)
		}
		return lowest
	}, key)
}

func closeValue(decoder *json.Decoder) error {
	if _, err := decoder.Token(); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}
