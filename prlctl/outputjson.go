package prlctl

import (
	"bytes"
	"errors"
)

// The tools print words around their JSON: the edition gate, progress that is
// glued to it, a prompt that quotes the name of a virtual machine (facts/
// captures.md 3, 4.2). Such a name is a user's text and may look like JSON, so
// the answer is not simply what the first bracket opens.

// outputAnswer is the JSON of an output that answers the question.
type outputAnswer struct {
	content any      // what the reader made of it; nil for an empty list or object
	words   bool     // there are words around it
	notes   []string // oddities of the output
}

// contentReader reads the value that begins at the document's position.
type contentReader func(*document) (any, error)

// outputScan walks over an output and reads every JSON value that stands by
// itself, in no other one.
type outputScan struct {
	output []byte
	doc    document
	read   contentReader
	done   int // bytes that were read, those read again counted again

	arrays, objects foundValues // that are not empty
	empty           int         // how many are empty
	brokenEnd       int         // how far the longest text goes that begins like JSON and breaks off; 0: there is none
	brokenBy        error       // errDepth or errSize where that is why one broke off, else errSyntax
}

// foundValues are the values of one form.
type foundValues struct {
	count int
	first foundValue
}

// foundValue is one value of an output.
type foundValue struct {
	content           any
	start, end        int
	brokenEnd         int // as of the scan, of what begins before it
	dropped, replaced bool
}

// What an output without an answer is.
var (
	errNoJSON      = errors.New("no JSON in the output")
	errEmptyInText = errors.New("an empty list among other text")
	errManyAnswers = errors.New("more than one answer in the output")
	errOtherForm   = errors.New("JSON of another form in the output")
	errMuchBroken  = errors.New("too much in the output begins like JSON")
	errInPrompt    = errors.New("the JSON may be the name of a virtual machine in a prompt")
)

// maxRereads bounds the work on an output in which much begins like JSON, as a
// multiple of its size. A real one is read once.
const maxRereads = 8

// readList finds the array of objects in an output, or the one object that
// stands without an array. Arrays may stand behind a text that begins like JSON
// and breaks off, as the name of a virtual machine can; what lies inside of such
// a text, or may, is not the answer.
func readList(output []byte, read contentReader) (outputAnswer, error) {
	scan, err := scanOutput(output, read)
	if err != nil {
		return outputAnswer{}, err
	}
	array, object := &scan.arrays.first, &scan.objects.first
	switch {
	case scan.arrays.count == 1 && !scan.isPart(array):
		return scan.answer(array)
	case scan.arrays.count > 1:
		return outputAnswer{}, outputError(errManyAnswers)
	case scan.arrays.count == 0 && scan.objects.count == 1 && object.brokenEnd == 0:
		return scan.answer(object)
	}
	return scan.emptyAnswer()
}

// readObject finds the one object in an output.
func readObject(output []byte, read contentReader) (outputAnswer, error) {
	scan, err := scanOutput(output, read)
	if err != nil {
		return outputAnswer{}, err
	}
	object := &scan.objects.first
	switch {
	case scan.objects.count == 1 && object.brokenEnd == 0:
		return scan.answer(object)
	case scan.objects.count > 1 && scan.brokenEnd == 0:
		return outputAnswer{}, outputError(errManyAnswers)
	}
	return scan.emptyAnswer()
}

// scanOutput reads all JSON of an output. A text that begins like JSON and
// breaks off is passed over by its first bracket only, because the answer may
// begin inside of it.
func scanOutput(output []byte, read contentReader) (*outputScan, error) {
	if len(output) > maxOutput {
		return nil, &Error{Code: CodeOutputTooLarge}
	}
	scan := &outputScan{output: output, doc: document{source: output}, read: read}
	for at := 0; at < len(output); {
		if !opensJSON(output[at:]) {
			at++
			continue
		}
		if scan.done > maxRereads*len(output)+maxMessage {
			return nil, outputError(scan.problem(errMuchBroken))
		}
		at = scan.readAt(at)
	}
	return scan, nil
}

// readAt reads what begins at a position, and returns where to go on.
func (s *outputScan) readAt(start int) (next int) {
	s.doc.at, s.doc.dropped, s.doc.replaced = start, false, false
	content, err := s.read(&s.doc)
	end := s.doc.at
	s.done += end - start
	if err != nil {
		s.noteBroken(end, err)
		return start + 1
	}
	values := &s.objects
	if s.output[start] == '[' {
		values = &s.arrays
	}
	if inner := firstByte(s.output[start+1 : end]); inner == ']' || inner == '}' {
		values = nil
		s.empty++
	}
	value := foundValue{content, start, end, s.brokenEnd, s.doc.dropped, s.doc.replaced}
	switch {
	case values == nil:
	case values.count == 0:
		values.first = value
		fallthrough
	default:
		values.count++
	}
	return end
}

func (s *outputScan) noteBroken(end int, err error) {
	s.brokenEnd = max(s.brokenEnd, end)
	if s.brokenBy == nil || errors.Is(err, errDepth) || errors.Is(err, errSize) {
		s.brokenBy = err
	}
}

// problem is why there is no answer: what broke off, or else the error given.
func (s *outputScan) problem(otherwise error) error {
	if s.brokenBy != nil && (otherwise == nil || !errors.Is(s.brokenBy, errSyntax)) {
		return s.brokenBy
	}
	return otherwise
}

// isPart reports whether a value may be a part of a text that begins before it
// like JSON and breaks off: a broken list goes on behind its lists of addresses,
// and has a key or an item before them. Behind the name in a prompt stands the
// answer alone.
func (s *outputScan) isPart(found *foundValue) bool {
	if found.brokenEnd == 0 {
		return false
	}
	before := bytes.TrimRight(s.output[:found.start], blanks)
	isValue := bytes.HasSuffix(before, []byte(",")) || bytes.HasSuffix(before, []byte("["))
	if key, colon := bytes.CutSuffix(before, []byte(":")); colon { // that of "Please enter password:" is none
		isValue = bytes.HasSuffix(bytes.TrimRight(key, blanks), []byte(`"`))
	}
	return isValue || firstByte(s.output[found.end:]) != 0
}

// mayBeName reports whether what stands before and behind a value may be one
// prompt, and so the value the name of a virtual machine. With two prompts it
// need not be; which of them it is cannot be told.
func mayBeName(before, behind []byte) bool {
	return bytes.Contains(bytes.ToLower(before), []byte(promptStart)) && bytes.Contains(bytes.ToLower(behind), []byte(promptText))
}

// answer makes the answer of what was found.
func (s *outputScan) answer(found *foundValue) (outputAnswer, error) {
	before, behind := s.output[:found.start], s.output[found.end:]
	if mayBeName(before, behind) {
		return outputAnswer{}, outputError(errInPrompt)
	}
	answer := outputAnswer{content: found.content, words: firstByte(before) != 0 || firstByte(behind) != 0}
	// The edition gate's sentence counts only before the JSON (H14).
	if bytes.Contains(bytes.ToLower(cappedMessage(before)), []byte(editionText)) {
		answer.notes = append(answer.notes, NoteEditionNotice)
	}
	if answer.words {
		answer.notes = append(answer.notes, NoteTextAroundJSON)
	}
	if found.dropped {
		answer.notes = append(answer.notes, NoteControlBytes)
	}
	if found.replaced {
		answer.notes = append(answer.notes, NoteInvalidUTF8)
	}
	return answer, nil
}

// emptyAnswer is for an output in which nothing but an empty list or object
// looks like JSON, and nothing stands behind that. Any other empty one is words:
// the name of a virtual machine in a prompt may be "[]", and to take that for an
// empty list would report every machine as removed.
func (s *outputScan) emptyAnswer() (outputAnswer, error) {
	rest := bytes.TrimRight(s.output, blanks)
	alone := s.empty == 1 && s.arrays.count+s.objects.count == 0 && s.brokenEnd == 0
	if at := s.startOfEmpty(rest); alone && at >= 0 {
		return s.answer(&foundValue{start: at, end: len(rest)})
	}
	switch {
	case s.brokenEnd > 0:
		return outputAnswer{}, outputError(s.problem(nil))
	case s.arrays.count+s.objects.count > 0:
		return outputAnswer{}, outputError(errOtherForm)
	case s.empty > 0:
		return outputAnswer{}, outputError(errEmptyInText)
	}
	return outputAnswer{}, outputError(errNoJSON)
}

// blanks are the bytes that count as such around JSON: all up to 0x20.
const blanks = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

// startOfEmpty is where the empty list or object begins that a text ends with;
// -1 if it ends otherwise.
func (s *outputScan) startOfEmpty(text []byte) int {
	if len(text) == 0 {
		return -1
	}
	opening := map[byte]byte{']': '[', '}': '{'}[text[len(text)-1]]
	inner := bytes.TrimRight(text[:len(text)-1], blanks)
	if opening == 0 || len(inner) == 0 || inner[len(inner)-1] != opening {
		return -1
	}
	return len(inner) - 1
}

// opensJSON reports whether a text begins with a bracket that can open an answer
// of the tools, which "[warning]" in a message cannot.
func opensJSON(text []byte) bool {
	switch text[0] {
	case '[':
		inner := firstByte(text[1:])
		return inner == '{' || inner == ']'
	case '{':
		inner := firstByte(text[1:])
		return inner == '"' || inner == '}'
	}
	return false
}

// firstByte returns the first byte that is not blank, 0 if there is none.
func firstByte(text []byte) byte {
	for _, c := range text {
		if c > ' ' {
			return c
		}
	}
	return 0
}

// wordsBefore are what stands before all that looks like JSON.
func wordsBefore(output []byte) []byte {
	for at := range output {
		if opensJSON(output[at:]) {
			return output[:at]
		}
	}
	return output
}

// outputError gives an output without an answer its code. It never quotes the
// output.
func outputError(err error) *Error {
	switch {
	case errors.Is(err, errDepth):
		return &Error{Code: CodeOutputTooDeep, Err: err}
	case errors.Is(err, errSize):
		return &Error{Code: CodeOutputTooLarge, Err: err}
	}
	return &Error{Code: CodeOutputInvalid, Err: err}
}
