package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// shapeLimits are what a message may consist of; 0 is any number.
type shapeLimits struct {
	tokens int // braces, brackets, keys and values
	items  int // of one list
}

// checkShape walks the tokens of a message once, before anything is made of
// them: their number, depth, duplicate keys, a single value. It judges the
// shape of JSON only; what is no JSON is for the decoder to refuse.
func checkShape(data []byte, limits shapeLimits) error {
	s := shapeScanner{data: data, limits: limits}
	for {
		s.at += len(s.data[s.at:]) - len(bytes.TrimLeft(s.data[s.at:], " \t\r\n:"))
		if s.at == len(data) {
			return nil
		}
		if err := s.next(); err != nil {
			return err
		}
	}
}

// shapeScanner is a walk through a message.
type shapeScanner struct {
	data   []byte
	at     int
	limits shapeLimits
	tokens int
	values int // at the top
	depth  int // of open
	open   [MaxDepth]container
}

// container is an object or a list that is not closed yet.
type container struct {
	isObject bool
	keyNext  bool // a text that comes now is a key
	items    int
	keys     objectKeys
}

// next takes one token, or the comma between two.
func (s *shapeScanner) next() error {
	switch s.data[s.at] {
	case ',':
		return s.comma()
	case '}', ']':
		if s.depth == 0 {
			return ErrTrailingBytes
		}
		s.depth--
		s.at++
		return s.count()
	}
	if s.values++; s.depth == 0 && s.values > 1 {
		return ErrTrailingBytes
	}
	if err := s.count(); err != nil {
		return err
	}
	switch s.data[s.at] {
	case '{', '[':
		return s.openContainer()
	case '"':
		return s.text()
	}
	length := bytes.IndexAny(s.data[s.at+1:], "\",:{}[] \t\r\n")
	if length < 0 {
		length = len(s.data) - s.at - 1
	}
	s.at += 1 + length
	return nil
}

func (s *shapeScanner) count() error {
	if s.tokens++; s.limits.tokens > 0 && s.tokens > s.limits.tokens {
		return fmt.Errorf("%w: more than %d tokens", ErrTooManyTokens, s.limits.tokens)
	}
	return nil
}

func (s *shapeScanner) comma() error {
	s.at++
	if s.depth == 0 {
		return ErrTrailingBytes
	}
	inside := &s.open[s.depth-1]
	inside.keyNext = inside.isObject
	if inside.items++; s.limits.items > 0 && !inside.isObject && inside.items >= s.limits.items {
		return fmt.Errorf("%w: more than %d in one list", ErrTooManyTokens, s.limits.items)
	}
	return nil
}

func (s *shapeScanner) openContainer() error {
	if s.depth == MaxDepth {
		return fmt.Errorf("%w: more than %d levels", ErrTooDeep, MaxDepth)
	}
	inside := &s.open[s.depth]
	inside.isObject = s.data[s.at] == '{'
	inside.keyNext, inside.items = inside.isObject, 0
	inside.keys.reset()
	s.depth++
	s.at++
	return nil
}

// text takes a key or a value.
func (s *shapeScanner) text() error {
	quoted := s.data[s.at : s.at+textLength(s.data[s.at:])]
	s.at += len(quoted)
	if s.depth == 0 || !s.open[s.depth-1].keyNext {
		return nil
	}
	inside := &s.open[s.depth-1]
	inside.keyNext = false
	key := bytes.Trim(quoted, `"`)
	if bytes.IndexByte(key, '\\') >= 0 {
		var plain string
		if err := json.Unmarshal(quoted, &plain); err != nil {
			return fmt.Errorf("decode message: %w", err)
		}
		key = []byte(plain)
	}
	if !inside.keys.add(key) {
		return ErrDuplicateKey
	}
	return nil
}

// textLength is the length of the text at the beginning of data, with its quotes;
// of one that is not closed, everything.
func textLength(data []byte) int {
	for at := 1; at < len(data); at++ {
		end := bytes.IndexAny(data[at:], `"\`)
		if end < 0 {
			break
		}
		if at += end; data[at] == '"' {
			return at + 1
		}
		at++ // what is escaped
	}
	return len(data)
}

// objectKeys are the keys of one object so far. Keys that encoding/json takes
// for the same field are the same.
type objectKeys struct {
	few  [][]byte
	many map[string]struct{} // where few would take long to look through
}

// manyKeys is more than an object of ours has.
const manyKeys = 48

func (k *objectKeys) reset() { k.few, k.many = k.few[:0], nil }

// add takes a key; it reports whether it is new.
func (k *objectKeys) add(key []byte) bool {
	if k.many == nil && len(k.few) < manyKeys {
		for _, before := range k.few {
			if bytes.EqualFold(before, key) {
				return false
			}
		}
		k.few = append(k.few, key)
		return true
	}
	if k.many == nil {
		k.many = make(map[string]struct{}, 2*manyKeys)
		for _, before := range k.few {
			k.many[FoldCase(string(before))] = struct{}{}
		}
	}
	folded := FoldCase(string(key))
	_, twice := k.many[folded]
	k.many[folded] = struct{}{}
	return !twice
}

// FoldCase gives names that differ in their case only, and that encoding/json
// would take for one another, the same spelling.
func FoldCase(key string) string {
	return strings.Map(func(character rune) rune {
		lowest := character
		for next := unicode.SimpleFold(character); next != character; next = unicode.SimpleFold(next) {
			lowest = min(lowest, next)
		}
		return lowest
	}, key)
}

// Encode is v as JSON, as it is sent and kept: without the escapes that a text
// needs inside of HTML only, and that would make six bytes of each '<' (H56).
func Encode(v any) ([]byte, error) {
	var out encodedValue
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return out.data, err
}

// encodedValue takes what an Encoder writes, which is one value in one piece and
// a line end, and makes no more room than it needs.
type encodedValue struct{ data []byte }

func (e *encodedValue) Write(value []byte) (int, error) {
	e.data = append(e.data, bytes.TrimSuffix(value, []byte("\n"))...)
	return len(value), nil
}
