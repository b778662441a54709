package transcript

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var repetition = regexp.MustCompile(`\{([0-9]+)\*(.)\}`)

// unescape returns the bytes that a line stands for.
func unescape(line string) (string, error) {
	line = repetition.ReplaceAllStringFunc(line, func(s string) string {
		m := repetition.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[1])
		return strings.Repeat(m[2], n)
	})
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' {
			b.WriteByte(line[i])
			continue
		}
		switch rest := line[i+1:]; {
		case strings.HasPrefix(rest, `\`):
			b.WriteByte('\\')
			i++
		case strings.HasPrefix(rest, "r"):
			b.WriteByte('\r')
			i++
		case strings.HasPrefix(rest, "x") && len(rest) >= 3:
			c, err := strconv.ParseUint(rest[1:3], 16, 8)
			if err != nil {
				return "", err
			}
			b.WriteByte(byte(c))
			i += 3
		default:
			return "", fmt.Errorf("%q ends in half a byte", line)
		}
	}
	return b.String(), nil
}

// longest is how often a byte is written in a row.
const longest = 64

// escape returns the line that stands for the bytes, of which none is a line's end.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		n := 1
		for i+n < len(s) && s[i+n] == s[i] {
			n++
		}
		one := string(s[i])
		switch c := s[i]; {
		case c == '\\':
			one = `\\`
		case c == '\r':
			one = `\r`
		case c < ' ' || c > '~':
			one = fmt.Sprintf(`\x%02x`, c)
		case n > longest:
			one = fmt.Sprintf("{%d*%c}", n, c)
			i += n - 1
			n = 1
		}
		b.WriteString(strings.Repeat(one, n))
		i += n
	}
	return b.String()
}

// message returns the bytes of a request.
func message(lines []string) ([]byte, error) {
	head, body := lines, []string(nil)
	if i := slices.Index(lines, ""); i >= 0 {
		head, body = lines[:i], lines[i+1:]
	}
	var b bytes.Buffer
	b.WriteString(head[0] + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n")
	sized := false
	for _, line := range head[1:] {
		field, err := unescape(line)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(field, ":")
		sized = sized || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")
		b.WriteString(field + "\r\n")
	}
	text, err := unescape(strings.Join(body, "\n"))
	if err != nil {
		return nil, err
	}
	if !sized && len(text) > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(text))
	}
	b.WriteString("\r\n" + text)
	return b.Bytes(), nil
}

var instance = regexp.MustCompile(`urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// written returns the lines that a response is written in. What is not compared is replaced.
func written(wire []byte) []string {
	head, body, whole := strings.Cut(string(wire), "\r\n\r\n")
	if !whole {
		return strings.Split(escape(head), "\n")
	}
	var lines []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, _ := strings.Cut(line, ": "); name == "Date" {
			if _, err := time.Parse(http.TimeFormat, value); err == nil {
				line = "Date: {date}"
			}
		}
		lines = append(lines, escape(line))
	}
	lines = append(lines, "")
	if body == "" {
		return lines
	}
	body = instance.ReplaceAllString(body, "urn:uuid:{uuid}")
	for line := range strings.SplitSeq(body, "\n") {
		lines = append(lines, escape(line))
	}
	return lines
}

// sorted returns the lines of a response with those of its header in the order of the names. Lines of
// one name keep theirs.
func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	end := slices.Index(lines, "")
	if end < 0 {
		return lines
	}
	slices.SortStableFunc(lines[min(1, end):end], func(a, b string) int {
		nameA, _, _ := strings.Cut(a, ":")
		nameB, _, _ := strings.Cut(b, ":")
		return cmp.Compare(nameA, nameB)
	})
	return lines
}
