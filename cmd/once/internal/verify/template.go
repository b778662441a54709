package verify

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A variant is what makes an operation another one than those before.
type variant struct {
	n    int64
	uuid string
}

// render fills in the placeholders.
func (v variant) render(template string) string {
	return strings.NewReplacer("{{n}}", strconv.FormatInt(v.n, 10), "{{uuid}}", v.uuid).Replace(template)
}

func hasPlaceholder(template string) bool {
	return strings.Contains(template, "{{n}}") || strings.Contains(template, "{{uuid}}")
}

func checkTemplate(template string) error {
	for rest := template; ; {
		_, after, found := strings.Cut(rest, "{{")
		if !found {
			return nil
		}
		name, after, closed := strings.Cut(after, "}}")
		if closed && name != "n" && name != "uuid" && isToken(name) {
			return fmt.Errorf("placeholder {{%s}} is unknown; there are {{n}} and {{uuid}}", name)
		}
		rest = after
	}
}

// body renders the body of the operation.
func (cfg *Config) body(v variant) string {
	if cfg.Vary != "" {
		body, err := varied(v.render(cfg.Body), cfg.Vary, v.n)
		if err == nil { // as it was when cfg was checked
			return body
		}
	}
	return v.render(cfg.Body)
}

// varies reports whether two operations differ in their bodies.
func (cfg *Config) varies() bool { return cfg.Vary != "" || hasPlaceholder(cfg.Body) }

// varied returns the JSON text with the member at the pointer made different by n: an integer is
// raised, a string gets a suffix.
func varied(text, pointer string, n int64) (string, error) {
	doc, err := decodeJSON([]byte(text))
	if err != nil {
		return "", fmt.Errorf("body is not JSON: %w", err)
	}
	var found error
	changed := replaceAt(doc, pointer, func(v any) any {
		switch v := v.(type) {
		case string:
			return v + "-" + strconv.FormatInt(n, 10)
		case json.Number:
			if i, err := v.Int64(); err == nil {
				// Small steps: an amount must stay one that the service takes.
				return json.Number(strconv.FormatInt(i+n%1000+1, 10))
			}
		}
		found = errors.New("there is no string and no integer")
		return v
	}, &found)
	if found != nil {
		return "", found
	}
	out, err := json.Marshal(changed)
	return string(out), err
}

// replaceAt applies f to what the pointer refers to and returns the document.
func replaceAt(doc any, pointer string, f func(any) any, fail *error) any {
	if pointer == "" {
		return f(doc)
	}
	token, rest, err := cutPointer(pointer)
	if err != nil {
		*fail = err
		return doc
	}
	switch node := doc.(type) {
	case map[string]any:
		if child, ok := node[token]; ok {
			node[token] = replaceAt(child, rest, f, fail)
			return node
		}
	case []any:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(node) {
			node[i] = replaceAt(node[i], rest, f, fail)
			return node
		}
	}
	*fail = fmt.Errorf("JSON has no member %q", token)
	return doc
}

// at returns what the pointer refers to.
func at(doc any, pointer string) (any, error) {
	var found any
	var err error
	replaceAt(doc, pointer, func(v any) any { found = v; return v }, &err)
	return found, err
}

// cutPointer splits the first token off (RFC 6901 sections 3 and 4).
func cutPointer(pointer string) (token, rest string, err error) {
	if pointer[0] != '/' {
		return "", "", fmt.Errorf("JSON pointer %q does not start with a slash", pointer)
	}
	token = pointer[1:]
	if i := strings.IndexByte(token, '/'); i >= 0 {
		token, rest = token[:i], token[i:]
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token), rest, nil
}

func decodeJSON(text []byte) (any, error) {
	var doc any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("more than one value")
	}
	return doc, nil
}

func looksLikeJSON(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
}

// newUUID returns a random one (RFC 9562 section 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
