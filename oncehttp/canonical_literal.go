package oncehttp

import (
	"encoding/binary"
	"math/bits"
)

func (c *canonicalizer) word(w string) bool {
	if len(c.src)-c.pos < len(w) || string(c.src[c.pos:c.pos+len(w)]) != w {
		return false
	}
	c.pos += len(w)
	return true
}

// text reads a string and reports whether it is ASCII without escapes.
func (c *canonicalizer) text() (plain, ok bool) {
	plain = true
	src := c.src
	for i := c.pos + 1; ; i++ {
		for i+8 <= len(src) {
			n := ordinary(binary.LittleEndian.Uint64(src[i:]))
			if i += n; n < 8 {
				break
			}
		}
		if i >= len(src) {
			return false, false
		}
		switch b := src[i]; {
		case b == '"':
			c.pos = i + 1
			return plain, true
		case b < ' ':
			return false, false
		case b == '\\':
			n := escape(src[i:])
			if n == 0 {
				return false, false
			}
			i += n - 1
			plain = false
		case b >= 0x80:
			plain = false
		}
	}
}

// ordinary returns how many of the eight bytes, from the lowest, come before one that is a quote, a
// backslash, a control character, or not ASCII. It looks at all of them at once; see "Determine
// if a word has a byte less than n" in Sean Eron Anderson, Bit Twiddling Hacks.
func ordinary(w uint64) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^ones*'"', w^ones*'\\'
	special := (w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash | w
	return bits.TrailingZeros64(special&tops) / 8
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
	return true
}

func (c *canonicalizer) digits() int {
	start := c.pos
	for c.pos < len(c.src) && isDigit(c.src[c.pos]) {
		c.pos++
	}
	return c.pos - start
}
