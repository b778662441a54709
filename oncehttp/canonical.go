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
	run      int      // in src; from here to pos it is still to be copied to dst
	members  []member // of the objects that are being read, innermost last
	spare    []byte
}

// A member is a field of an object.
type member struct {
	name, nameEnd int // in src, without the quotes
	start, end    int // in dst
}

// canonical appends the canonical form of doc to dst, without what is left out. ok is false if
// doc is not JSON, or if the order of its fields could matter to somebody: an object has the
// same field twice, be it in upper and lower case, for encoding/json takes these for the same. Nor
// if it has a name that is not plain ASCII, of which it is hard to say. Then dst is returned as it
// was.
func (c *canonicalizer) canonical(dst, doc []byte, left *omission) (result []byte, ok bool) {
	c.src, c.dst, c.pos, c.run, c.members = doc, dst, 0, 0, c.members[:0]
	ok = c.value(left, 0)
	c.space()
	ok = ok && c.pos == len(doc)
	c.copyRun()
	result = c.dst
	c.src, c.dst = nil, nil
	if !ok {
		return dst, false
	}
	return result, true
}

// copyRun copies what was read to dst.
func (c *canonicalizer) copyRun() {
	c.dst = append(c.dst, c.src[c.run:c.pos]...)
	c.run = c.pos
}

// at is where in dst the next byte of src will be.
func (c *canonicalizer) at() int { return len(c.dst) + c.pos - c.run }

// cut removes from dst what starts there.
func (c *canonicalizer) cut(at int) {
	c.copyRun()
	c.dst = c.dst[:at]
}

// space skips white space.
func (c *canonicalizer) space() {
	c.copyRun()
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
			continue
		}
		break
	}
	c.run = c.pos
}

// next skips white space and returns the byte after it, or 0.
func (c *canonicalizer) next() byte {
	if c.pos < len(c.src) && c.src[c.pos] > ' ' {
		return c.src[c.pos]
	}
	return c.nextAfterSpace()
}

func (c *canonicalizer) nextAfterSpace() byte {
	c.space()
	if c.pos == len(c.src) {
		return 0
	}
	return c.src[c.pos]
}

func (c *canonicalizer) value(left *omission, depth int) bool {
	switch b := c.next(); {
	case b == '"':
		_, ok := c.text()
		return ok
	case b == '-' || isDigit(b):
		return c.number()
	case b == '{':
		return depth < maxDepth && c.object(left, depth)
	case b == '[':
		return depth < maxDepth && c.array(left, depth)
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	}
	return false
}

func (c *canonicalizer) array(left *omission, depth int) bool {
	c.pos++
	if c.next() == ']' {
		c.pos++
		return true
	}
	for i := 0; ; i++ {
		below := left.element(i)
		start := c.at()
		if !c.value(below, depth+1) {
			return false
		}
		if below != nil && below.all {
			c.cut(start) // the comma after it stays, so that elements keep their places
		}
		switch c.next() {
		case ',':
			c.pos++
		case ']':
			c.pos++
			return true
		default:
			return false
		}
	}
}

func (c *canonicalizer) object(left *omission, depth int) bool {
	c.pos++
	base, start := len(c.members), c.at()
	if c.next() == '}' {
		c.pos++
		return true
	}
	for fields := 1; ; fields++ {
		if !c.member(left, depth) {
			return false
		}
		switch c.next() {
		case ',':
			c.pos++
		case '}':
			c.pos++
			complete := len(c.members)-base == fields
			return c.sort(base, start, complete)
		default:
			return false
		}
	}
}

// member reads a field and notes where it is, unless it is left out.
func (c *canonicalizer) member(left *omission, depth int) bool {
	if c.next() != '"' {
		return false
	}
	m := member{name: c.pos + 1, start: c.at()}
	if plain, ok := c.text(); !ok || !plain {
		return false
	}
	m.nameEnd = c.pos - 1
	if c.next() != ':' {
		return false
	}
	c.pos++
	below := left.field(c.src[m.name:m.nameEnd])
	if !c.value(below, depth+1) {
		return false
	}
	if below == nil || !below.all {
		m.end = c.at()
		c.members = append(c.members, m)
	}
	return true
}

// sort puts the fields of the object in order whose first one starts there in dst. complete: none
// was left out.
func (c *canonicalizer) sort(base, start int, complete bool) bool {
	members := c.members[base:]
	c.members = c.members[:base]
	ordered := complete
	for i := 1; i < len(members) && ordered; i++ {
		switch n := c.compare(members[i-1], members[i]); {
		case n == 0:
			return false
		case n > 0:
			ordered = false
		}
	}
	if ordered {
		return true
	}
	slices.SortFunc(members, c.compare)
	c.copyRun()
	c.spare = append(c.spare[:0], c.dst[start:]...)
	c.dst = c.dst[:start]
	for i, m := range members {
		if i > 0 {
			c.dst = append(c.dst, ',')
			if c.compare(members[i-1], m) == 0 {
				return false
			}
		}
		c.dst = append(c.dst, c.spare[m.start-start:m.end-start]...)
	}
	c.dst = append(c.dst, '}')
	return true
}

// compare orders by name.
func (c *canonicalizer) compare(a, b member) int {
	return compareFold(c.src[a.name:a.nameEnd], c.src[b.name:b.nameEnd])
}

// compareFold compares without regard to the case of letters, so that names which encoding/json
// takes for the same are equal.
func compareFold(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			if x, y := lower(a[i]), lower(b[i]); x != y {
				return int(x) - int(y)
			}
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
