package oncehttp

import "strings"

// parseSFString parses a Structured Field Item whose value is a String (RFC 9651 sections 3.3.3,
// 4.2.3 and 4.2.5) and returns that value. Parameters must be well-formed, and are ignored. It
// allocates only if the string has escapes.
func parseSFString(s string) (value string, ok bool) {
	s = strings.Trim(s, " ")
	value, rest, ok := cutString(s)
	if !ok || !isParameters(rest) {
		return "", false
	}
	return value, true
}

// cutString parses the String that s starts with.
func cutString(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	var unescaped []byte // nil until there is an escape
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && unescaped == nil:
			return s[1:i], s[i+1:], true
		case c == '"':
			return string(unescaped), s[i+1:], true
		case c == '\\':
			if unescaped == nil {
				unescaped = append(make([]byte, 0, len(s)), s[1:i]...)
			}
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", "", false
			}
			unescaped = append(unescaped, s[i])
		case c < ' ' || c > '~':
			return "", "", false
		case unescaped != nil:
			unescaped = append(unescaped, c)
		}
	}
	return "", "", false
}

// isParameters reports whether s is a well-formed list of parameters (RFC 9651 section 3.1.2).
func isParameters(s string) bool {
	for s != "" {
		if s[0] != ';' {
			return false
		}
		s = strings.TrimLeft(s[1:], " ")
		n := 0
		for n < len(s) && isParameterKey(s[n], n == 0) {
			n++
		}
		if n == 0 {
			return false
		}
		s = s[n:]
		if s != "" && s[0] == '=' {
			var ok bool
			if s, ok = cutBareItem(s[1:]); !ok {
				return false
			}
		}
	}
	return true
}

func isParameterKey(c byte, first bool) bool {
	return isLower(c) || c == '*' || !first && (isDigit(c) || c == '_' || c == '-' || c == '.')
}

// cutBareItem skips the bare item that s starts with (RFC 9651 section 4.2.3.1).
func cutBareItem(s string) (rest string, ok bool) {
	if s == "" {
		return "", false
	}
	switch c := s[0]; {
	case c == '"':
		_, rest, ok = cutString(s)
		return rest, ok
	case c == '-' || isDigit(c):
		return cutNumber(s, true)
	case c == '@':
		return cutNumber(s[1:], false)
	case c == '?':
		return s[min(2, len(s)):], len(s) > 1 && (s[1] == '0' || s[1] == '1')
	case c == ':':
		end := strings.IndexByte(s[1:], ':')
		return s[end+2:], end >= 0 && isBase64(s[1:end+1])
	case c == '%':
		return cutDisplayString(s)
	case isLower(c) || isUpper(c) || c == '*':
		n := 1
		for n < len(s) && (isTokenChar(s[n]) || s[n] == ':' || s[n] == '/') {
			n++
		}
		return s[n:], true
	}
	return "", false
}

// cutNumber skips an Integer of at most 15 digits, or a Decimal of at most 12 and 3.
func cutNumber(s string, decimal bool) (rest string, ok bool) {
	s = strings.TrimPrefix(s, "-")
	whole := digits(s)
	if s = s[whole:]; !decimal || s == "" || s[0] != '.' {
		return s, whole > 0 && whole <= 15
	}
	fraction := digits(s[1:])
	return s[1+fraction:], whole > 0 && whole <= 12 && fraction > 0 && fraction <= 3
}

// cutDisplayString skips a Display String, but for whether it is UTF-8 when decoded.
func cutDisplayString(s string) (rest string, ok bool) {
	if len(s) < 2 || s[1] != '"' {
		return "", false
	}
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[i+1:], true
		case c == '%':
			if i+2 >= len(s) || !isLowerHex(s[i+1]) || !isLowerHex(s[i+2]) {
				return "", false
			}
			i += 2
		case c < ' ' || c > '~':
			return "", false
		}
	}
	return "", false
}

func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func isBase64(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLower(c) && !isUpper(c) && !isDigit(c) && c != '+' && c != '/' && c != '=' {
			return false
		}
	}
	return true
}

// isTokenChar reports whether c is a tchar (RFC 9110 section 5.6.2).
func isTokenChar(c byte) bool { return tokenChars[c] }

var tokenChars = func() (table [256]bool) {
	for c := range byte(0x80) {
		table[c] = isLower(c) || isUpper(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
	return table
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func isLower(c byte) bool    { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool    { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool    { return '0' <= c && c <= '9' }
func isLowerHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }
