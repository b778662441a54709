package oncehttp

import "slices"

// maxDepth is how deep a JSON document may be nested to be canonicalised.
const maxDepth = 500

// A canonicalizer rewrites JSON documents (RFC 8259) so that two of them become equal if they
// differ only in white space and in the order of fields. Strings and numbers stay as they are
// written: 1 and 1.0 differ, as do "é" and "\u00e9". It may be used again and again, by one
// goroutine at a time.
//
// This is not RFC 8785: that rewrites literals, which is slower and makes some different
// documents equal. A fingerprint must never do that; a retry that is written differently is only
// refused.
type canonicalizer struct {
	src, dst []byte
	pos      int      // in src
	members  []member // of the objects that are being read, innermost last
	spare    []byte
}

// A member is a field of an object.
type member struct {
	name, nameEnd int // in src
	start, end    int // in dst: of the name, and after the comma behind the value
}

// canonical appends the canonical form of doc to dst, without what is left out. ok is false if
// doc is not JSON, or if the order of its fields could matter to somebody: an object has the
// same field twice, be it in upper and lower case, for encoding/json takes these for the same. Nor
// if it has a name that is not plain ASCII, of which it is hard to say. Then dst is returned as it
// was.
func (c *canonicalizer) canonical(dst, doc []byte, left *omission) (result []byte, ok bool) {
	c.src, c.dst, c.pos, c.members = doc, dst, 0, c.members[:0]
	ok = c.value(left, 0)
	c.space()
	ok = ok && c.pos == len(doc)
	result = c.dst
	c.src, c.dst = nil, nil
	if !ok {
		return dst, false
	}
	return result, true
}

func (c *canonicalizer) space() {
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

// next skips white space and returns the byte after it, or 0.
func (c *canonicalizer) next() byte {
	c.space()
	if c.pos == len(c.src) {
		return 0
	}
	return c.src[c.pos]
}

func (c *canonicalizer) value(left *omission, depth int) bool {
	switch b := c.next(); {
	case b == '{':
		return depth < maxDepth && c.object(left, depth)
	case b == '[':
		return depth < maxDepth && c.array(left, depth)
	case b == '"':
		_, ok := c.text()
		return ok
	case b == '-' || isDigit(b):
		return c.number()
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	}
	return false
}

func (c *canonicalizer) word(w string) bool {
	if len(c.src)-c.pos < len(w) || string(c.src[c.pos:c.pos+len(w)]) != w {
		return false
	}
	c.dst = append(c.dst, w...)
	c.pos += len(w)
	return true
}

// text copies a string and reports whether it is ASCII without escapes.
func (c *canonicalizer) text() (plain, ok bool) {
	plain = true
	for i := c.pos + 1; i < len(c.src); i++ {
		switch b := c.src[i]; {
		case b == '"':
			c.dst = append(c.dst, c.src[c.pos:i+1]...)
			c.pos = i + 1
			return plain, true
		case b >= 0x80:
			plain = false
		case b == '\\':
			plain = false
			n := escape(c.src[i:])
			if n == 0 {
				return false, false
			}
			i += n - 1
		case b < ' ':
			return false, false
		}
	}
	return false, false
}

// escape returns the length of the escape that s starts with, or 0.
func escape(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(s) < 6 {
			return 0
		}
		for _, b := range s[2:6] {
			if !isDigit(b) && !('a' <= b && b <= 'f') && !('A' <= b && b <= 'F') {
				return 0
			}
		}
		return 6
	}
	return 0
}

func (c *canonicalizer) number() bool {
	start := c.pos
	if c.src[c.pos] == '-' {
		c.pos++
	}
	first := c.pos
	if n := c.digits(); n == 0 || n > 1 && c.src[first] == '0' {
		return false
	}
	if c.pos < len(c.src) && c.src[c.pos] == '.' {
		c.pos++
		if c.digits() == 0 {
			return false
		}
	}
	if c.pos < len(c.src) && (c.src[c.pos] == 'e' || c.src[c.pos] == 'E') {
		c.pos++
		if c.pos < len(c.src) && (c.src[c.pos] == '+' || c.src[c.pos] == '-') {
			c.pos++
		}
		if c.digits() == 0 {
			return false
		}
	}
	c.dst = append(c.dst, c.src[start:c.pos]...)
	return true
}

func (c *canonicalizer) digits() int {
	start := c.pos
	for c.pos < len(c.src) && isDigit(c.src[c.pos]) {
		c.pos++
	}
	return c.pos - start
}

func (c *canonicalizer) array(left *omission, depth int) bool {
	c.dst = append(c.dst, '[')
	c.pos++
	if c.next() == ']' {
		c.pos++
		c.dst = append(c.dst, ']')
		return true
	}
	for i := 0; ; i++ {
		start := len(c.dst)
		if i > 0 {
			c.dst = append(c.dst, ',')
		}
		below := left.element(i)
		if !c.value(below, depth+1) {
			return false
		}
		if below != nil && below.all {
			c.dst = c.dst[:start] // the comma after it stays, so that elements keep their places
		}
		switch c.next() {
		case ',':
			c.pos++
		case ']':
			c.pos++
			c.dst = append(c.dst, ']')
			return true
		default:
			return false
		}
	}
}

func (c *canonicalizer) object(left *omission, depth int) bool {
	c.dst = append(c.dst, '{')
	c.pos++
	base, start := len(c.members), len(c.dst)
	if c.next() == '}' {
		c.pos++
		c.dst = append(c.dst, '}')
		return true
	}
	for {
		if !c.member(left, depth) {
			return false
		}
		switch c.next() {
		case ',':
			c.pos++
		case '}':
			c.pos++
			return c.close(base, start)
		default:
			return false
		}
	}
}

// member copies a field, followed by a comma, and notes where it is.
func (c *canonicalizer) member(left *omission, depth int) bool {
	m := member{start: len(c.dst)}
	if c.next() != '"' {
		return false
	}
	nameAt := c.pos
	if plain, ok := c.text(); !ok || !plain {
		return false
	}
	m.name, m.nameEnd = nameAt+1, c.pos-1
	if c.next() != ':' {
		return false
	}
	c.pos++
	c.dst = append(c.dst, ':')
	below := left.field(c.src[m.name:m.nameEnd])
	if !c.value(below, depth+1) {
		return false
	}
	if below != nil && below.all {
		c.dst = c.dst[:m.start]
		return true
	}
	c.dst = append(c.dst, ',')
	m.end = len(c.dst)
	c.members = append(c.members, m)
	return true
}

// close puts the fields of the object whose text starts there in dst in order.
func (c *canonicalizer) close(base, start int) bool {
	members := c.members[base:]
	c.members = c.members[:base]
	if len(members) == 0 {
		c.dst = append(c.dst, '}')
		return true
	}
	src := c.src
	compare := func(a, b member) int {
		return compareFold(src[a.name:a.nameEnd], src[b.name:b.nameEnd])
	}
	if !slices.IsSortedFunc(members, compare) {
		slices.SortFunc(members, compare)
		c.spare = append(c.spare[:0], c.dst[start:]...)
		c.dst = c.dst[:start]
		for _, m := range members {
			c.dst = append(c.dst, c.spare[m.start-start:m.end-start]...)
		}
	}
	for i := 1; i < len(members); i++ {
		if compare(members[i-1], members[i]) == 0 {
			return false
		}
	}
	c.dst[len(c.dst)-1] = '}' // instead of the last comma
	return true
}

// compareFold compares without regard to the case of letters, so that names which encoding/json
// takes for the same are equal.
func compareFold(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if isUpper(c) {
		return c + 'a' - 'A'
	}
	return c
}
