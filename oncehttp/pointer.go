package oncehttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parsePointer returns the reference tokens of a JSON Pointer (RFC 6901). A pointer that lacks
// its first slash gets it, so that every string is one.
func parsePointer(pointer string) []string {
	if pointer == "" {
		return nil
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, t := range tokens {
		tokens[i] = unescape.Replace(t)
	}
	return tokens
}

// lookUp returns the value at the path, without space around it, or nil if there is none.
func lookUp(doc []byte, path []string) (json.RawMessage, error) {
	if !json.Valid(doc) {
		return nil, errKeyJSON
	}
	value := json.RawMessage(bytes.TrimSpace(doc))
	for _, name := range path {
		switch value[0] {
		case '{':
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(value, &fields); err != nil {
				return nil, errKeyJSON
			}
			value = fields[name]
		case '[':
			var elements []json.RawMessage
			if err := json.Unmarshal(value, &elements); err != nil {
				return nil, errKeyJSON
			}
			value = nil
			if i, err := strconv.Atoi(name); err == nil && 0 <= i && i < len(elements) {
				value = elements[i]
			}
		default:
			return nil, nil
		}
		if value == nil {
			return nil, nil
		}
	}
	return value, nil
}

// An omission is a set of values in a JSON document that are left out of its fingerprint. It is
// a tree of reference tokens. nil: nothing is left out.
type omission struct {
	all  bool // the value itself
	deep map[string]*omission
}

func newOmission(pointers []string) (*omission, error) {
	var root *omission
	var errs []error
	for _, p := range pointers {
		path := parsePointer(p)
		if len(path) == 0 {
			errs = append(errs, errors.New("an empty pointer would leave out the whole body"))
			continue
		}
		if root == nil {
			root = new(omission)
		}
		at := root
		for _, name := range path {
			next := at.deep[name]
			if next == nil {
				next = new(omission)
				if at.deep == nil {
					at.deep = make(map[string]*omission)
				}
				at.deep[name] = next
			}
			at = next
		}
		at.all = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w; name fields such as /meta/sent_at", err)
	}
	return root, nil
}

// field returns what is left out below the field of that name; nil: nothing.
func (o *omission) field(name []byte) *omission {
	if o == nil {
		return nil
	}
	return o.deep[string(name)]
}

// element returns what is left out below the element at that index; nil: nothing.
func (o *omission) element(i int) *omission {
	if o == nil {
		return nil
	}
	return o.deep[strconv.Itoa(i)]
}
