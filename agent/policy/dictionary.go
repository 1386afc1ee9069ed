package policy

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"prlagent/agent/protocol"
)

// Dictionary is the policy that stands in the Mac's own configuration, as a
// property list. It needs no signature: whoever writes there decides whom the Mac
// trusts.
type Dictionary struct {
	Given    bool                   // it is there
	Refused  bool                   // it cannot be used: what was in force stays
	Document []byte                 // the same as JSON; nil of one that is empty or refused
	Pointer  protocol.PolicyPointer // to Document
}

// Decides reports whether the dictionary says what is in force.
func (d Dictionary) Decides() bool { return d.Given && !d.Refused }

// Releases reports whether the dictionary is empty, which says that there is no
// policy any more.
func (d Dictionary) Releases() bool { return d.Decides() && d.Document == nil }

// ReadDictionary reads the dictionary of a property list, as platform/plist
// decodes it, by the rules of Parse. What has no form in JSON, dates and data, is
// refused, with the path. MDM products write true as the integer 1, and whole
// numbers as reals: both are taken where the other is meant.
func ReadDictionary(values map[string]any) (Dictionary, []*Error) {
	if len(values) == 0 {
		return Dictionary{Given: true}, nil
	}
	var reader plistReader
	for {
		data, problem := reader.toJSON(values)
		if problem != nil {
			return Dictionary{Given: true, Refused: true}, []*Error{problem}
		}
		document, problems := Check(data)
		if len(problems) == 0 {
			return Dictionary{Given: true, Document: data, Pointer: protocol.PointTo(document.PolicyID, document.Revision, data)}, nil
		}
		if !reader.learn(problems) {
			return Dictionary{Given: true, Refused: true}, problems
		}
	}
}

// plistReader makes JSON of a property list.
type plistReader struct {
	// wrongType are the values that Check has found to be of the wrong type: the integers 0 and 1 there may mean false and true.
	wrongType []*Error
}

// learn notes what has the wrong type, and reports whether anything of it is new,
// so that another attempt may help. Where one did not, the problem becomes what
// it was with the value that stands there.
func (r *plistReader) learn(problems []*Error) (news bool) {
	for i, problem := range problems {
		switch first := r.find(problem.Path); {
		case first != nil:
			problems[i] = first
		case problem.Code == protocol.CodePolicyWrongType:
			r.wrongType, news = append(r.wrongType, problem), true
		}
	}
	return news
}

// find is what was said of the type of the value with this path; nil if nothing was.
func (r *plistReader) find(path string) *Error {
	for _, problem := range r.wrongType {
		if problem.Path == path {
			return problem
		}
	}
	return nil
}

func (r *plistReader) toJSON(values map[string]any) ([]byte, *Error) {
	tree, problem := r.value("", values, 0)
	if problem != nil {
		return nil, problem
	}
	data, err := json.Marshal(tree)
	if err != nil { // of what value lets through there is none that JSON has no form for
		return nil, invalid("", protocol.CodePolicySyntax, "%.80s", err)
	}
	return data, nil
}

func (r *plistReader) value(path string, found any, depth int) (any, *Error) {
	switch found := found.(type) {
	case uint64:
		return r.number(path, strconv.FormatUint(found, 10)), nil
	case int64:
		return r.number(path, strconv.FormatInt(found, 10)), nil
	case float64:
		if found != math.Trunc(found) || math.Abs(found) > 1<<53 {
			return nil, invalid(path, protocol.CodePolicyWrongType, "it is a real, and should be a whole number")
		}
		return r.number(path, strconv.FormatInt(int64(found), 10)), nil
	case []byte:
		return nil, invalid(path, protocol.CodePolicyWrongType, "it is data, of which no policy has any")
	case time.Time:
		return nil, invalid(path, protocol.CodePolicyWrongType, "it is a date; write it as a text")
	case []any, map[string]any:
		if depth >= protocol.MaxDepth {
			return nil, invalid(path, protocol.CodePolicyTooDeep, "more than %d levels", protocol.MaxDepth)
		}
		return r.container(path, found, depth)
	}
	return found, nil
}

func (r *plistReader) number(path, digits string) any {
	if r.find(path) != nil && (digits == "0" || digits == "1") {
		return digits == "1"
	}
	return json.Number(digits)
}

func (r *plistReader) container(path string, found any, depth int) (made any, problem *Error) {
	if list, is := found.([]any); is {
		items := make([]any, len(list))
		for i, item := range list {
			if items[i], problem = r.value(path+"["+strconv.Itoa(i)+"]", item, depth+1); problem != nil {
				return nil, problem
			}
		}
		return items, nil
	}
	values, _ := found.(map[string]any)
	members := make(map[string]any, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if members[name], problem = r.value(below(path, name), values[name], depth+1); problem != nil {
			return nil, problem
		}
	}
	return members, nil
}
