package oncehttp

import (
	"errors"
	"net/http"
)

// maxKey is the longest key that is accepted, in bytes. It leaves room for the names of steps in
// [once.MaxID].
const maxKey = 255

var (
	errKeyLines  = errors.New("the key is given more than once; send one field line with one key")
	errKeyEmpty  = errors.New("the key is empty; send a unique one, such as a UUID")
	errKeyLong   = errors.New("the key is longer than 255 bytes; send a shorter one, such as a UUID")
	errKeySyntax = errors.New(`the key is not well-formed; send a quoted string such as "8e03978e-40d5-43e8"`)
)

// headerKey returns the key in the header, or "" if there is none. names are canonical.
func headerKey(h http.Header, names []string, strict bool) (string, error) {
	var line string
	lines := 0
	for _, name := range names {
		if values := h[name]; len(values) > 0 {
			line = values[0]
			lines += len(values)
		}
	}
	switch lines {
	case 0:
		return "", nil
	case 1:
		return parseKey(line, strict)
	}
	// Which of several is meant is anybody's guess, and proxies differ in theirs.
	return "", errKeyLines
}

// parseKey parses the value of an Idempotency-Key field, which is a Structured Field Item of type
// String (draft-ietf-httpapi-idempotency-key-header-07 section 2.1). Unless strict, a value
// without quotes is a key too, the same as with them: most of the industry sends it like that.
func parseKey(line string, strict bool) (string, error) {
	key, ok := parseSFString(line)
	if !ok && !strict {
		key, ok = parseBareKey(line)
	}
	if !ok {
		return "", errKeySyntax
	}
	return key, checkKey(key)
}

// parseBareKey accepts visible ASCII without what would make it something else in a structured
// field: quotes, lists, parameters.
func parseBareKey(line string) (string, bool) {
	for len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	for len(line) > 0 && line[len(line)-1] == ' ' {
		line = line[:len(line)-1]
	}
	for i := range len(line) {
		if c := line[i]; c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' {
			return "", false
		}
	}
	return line, true
}

func checkKey(key string) error {
	switch {
	case key == "":
		return errKeyEmpty
	case len(key) > maxKey:
		return errKeyLong
	}
	return nil
}
