package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"prlagent/agent/protocol"
)

// Limits of what is read. A tree comes from whoever may propose a change of it.
const (
	maxFile  = protocol.MaxPolicy // bytes
	maxFiles = 2000               // of one folder
	maxDepth = protocol.MaxDepth  // levels of nesting
)

// fault is what is wrong with a file as YAML.
type fault struct {
	rule   string
	at     place
	detail string
}

// parseYAML reads a file's one value. It refuses what two readers could
// understand differently, and what makes little of much: anchors, aliases, merge
// keys, a name twice, also in another case, and more than one document. An empty
// file is an empty object.
func parseYAML(data []byte) (value, *fault) {
	if len(data) > maxFile {
		return value{}, &fault{ruleSize, place{1, 1}, fmt.Sprintf("it has %d bytes, at most %d are read", len(data), maxFile)}
	}
	var documents []yaml.Node
	if err := yaml.Load(data, &documents, yaml.WithAllDocuments()); err != nil {
		return value{}, syntaxFault(err)
	}
	switch len(documents) {
	case 0:
		return value{at: place{1, 1}, kind: kindObject}, nil
	case 1:
		return documentValue(&documents[0])
	}
	return value{}, &fault{ruleSyntax, place{max(documents[1].Line, 1), max(documents[1].Column, 1)}, "it has more than one document"}
}

// syntaxFault says where the file ends to be YAML.
func syntaxFault(err error) *fault {
	found := &fault{ruleSyntax, place{1, 1}, fmt.Sprintf("it is no YAML: %.200s", err)}
	var failed *yaml.LoadError
	if errors.As(err, &failed) {
		found.at = place{max(failed.Mark.Line, 1), max(failed.Mark.Column, 1)}
		found.detail = fmt.Sprintf("it is no YAML: %.200s", failed.Message)
	}
	return found
}

func documentValue(document *yaml.Node) (value, *fault) {
	switch {
	case document.Kind == 0, document.Kind == yaml.DocumentNode && len(document.Content) == 0:
		return value{at: place{1, 1}, kind: kindObject}, nil
	case document.Kind == yaml.DocumentNode:
		document = document.Content[0]
	}
	if document.Kind == yaml.ScalarNode && document.ShortTag() == "!!null" && document.Value == "" {
		return value{at: place{1, 1}, kind: kindObject}, nil
	}
	return nodeValue(document, 1)
}

func nodeValue(node *yaml.Node, depth int) (value, *fault) {
	read := value{at: place{max(node.Line, 1), max(node.Column, 1)}}
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		return value{}, &fault{ruleAlias, read.at, "anchors and aliases are not read; write it out"}
	case depth > maxDepth:
		return value{}, &fault{ruleDepth, read.at, fmt.Sprintf("more than %d levels", maxDepth)}
	case node.Kind == yaml.ScalarNode:
		return scalarValue(node, read)
	case node.Kind == yaml.SequenceNode && node.ShortTag() == "!!seq":
		read.kind = kindList
		for _, item := range node.Content {
			one, wrong := nodeValue(item, depth+1)
			if wrong != nil {
				return value{}, wrong
			}
			read.items = append(read.items, one)
		}
		return read, nil
	case node.Kind == yaml.MappingNode && node.ShortTag() == "!!map":
		return objectValue(node, read, depth)
	}
	return value{}, &fault{ruleTag, read.at, fmt.Sprintf("%.40q is no type that is read", node.Tag)}
}

func objectValue(node *yaml.Node, read value, depth int) (value, *fault) {
	read.kind = kindObject
	seen := make(map[string]int)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		at := place{max(key.Line, 1), max(key.Column, 1)}
		switch {
		case key.Kind == yaml.AliasNode || key.Anchor != "" || key.ShortTag() == "!!merge":
			return value{}, &fault{ruleAlias, at, "anchors, aliases and merge keys are not read; write it out"}
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			return value{}, &fault{ruleTag, at, "a name must be a text; put it in quotes"}
		}
		folded := protocol.FoldCase(key.Value)
		if before, twice := seen[folded]; twice {
			return value{}, &fault{ruleDuplicateKey, at, fmt.Sprintf("%.80q stands there twice, first in line %d", key.Value, before)}
		}
		seen[folded] = at.line
		one, wrong := nodeValue(node.Content[i+1], depth+1)
		if wrong != nil {
			return value{}, wrong
		}
		read.members = append(read.members, member{name: key.Value, at: at, value: one})
	}
	return read, nil
}

// scalarValue reads a text, a truth, a number or null. A date without quotes is
// the text of it, and a number is one only as JSON has it.
func scalarValue(node *yaml.Node, read value) (value, *fault) {
	if node.Style&yaml.TaggedStyle != 0 {
		return value{}, &fault{ruleTag, read.at, fmt.Sprintf("%.40q is a tag, and tags are not read: a reviewer should see the value", node.Tag)}
	}
	switch tag := node.ShortTag(); tag {
	case "!!str", "!!timestamp":
		read.scalar = node.Value
	case "!!null":
	case "!!bool":
		isTrue := strings.EqualFold(node.Value, "true")
		if !isTrue && !strings.EqualFold(node.Value, "false") {
			return value{}, &fault{ruleTag, read.at, fmt.Sprintf("%.40q is a truth to some readers and a text to others; say true or false, or put it in quotes", node.Value)}
		}
		read.scalar = isTrue
	case "!!int", "!!float":
		if !json.Valid([]byte(node.Value)) {
			return value{}, &fault{ruleTag, read.at, fmt.Sprintf("%.40q is a number in another form than 1200; put it in quotes if it is a text", node.Value)}
		}
		read.scalar = json.Number(node.Value)
	default:
		return value{}, &fault{ruleTag, read.at, fmt.Sprintf("%.40q is no type that is read", tag)}
	}
	return read, nil
}
