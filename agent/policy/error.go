package policy

import (
	"errors"
	"fmt"

	"prlagent/agent/protocol"
)

// Errors of reading a document. Every Error is one of the two.
var (
	ErrInvalid     = errors.New("policy is not valid")
	ErrUnsupported = errors.New("policy needs a feature that is not there")
)

// Error is what is wrong with one place of a document.
type Error struct {
	// Path names the place by the members that lead to it, for example
	// vm_settings.other.network, or groups[2]; empty for the document as a
	// whole. Who has the document in another form finds the line by it.
	Path   string
	Code   protocol.Code
	Detail string // what is wrong there, for people; quotes at most 80 characters of the document
	Err    error  // ErrInvalid or ErrUnsupported
}

// Error says where, what, and under which code.
func (e *Error) Error() string {
	where := e.Path
	if where == "" {
		where = "the document"
	}
	return fmt.Sprintf("%v: %s: %s (%s)", e.Err, where, e.Detail, e.Code)
}

// ErrorCode returns the code.
func (e *Error) ErrorCode() string { return string(e.Code) }

// Unwrap returns ErrInvalid or ErrUnsupported.
func (e *Error) Unwrap() error { return e.Err }

func invalid(path string, code protocol.Code, format string, args ...any) *Error {
	return &Error{Path: path, Code: code, Detail: fmt.Sprintf(format, args...), Err: ErrInvalid}
}
