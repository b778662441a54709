package verify

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// maxBody is how much of a body is shown, in bytes.
const maxBody = 2000

// curls returns the exchanges as commands for a shell, each with what was answered. Requests that
// are the same share a line.
func (c *client) curls(exchanges []exchange) []string {
	lines := []string{}
	answers := map[string][]string{}
	for _, e := range exchanges {
		line := c.curl(e.request)
		if _, known := answers[line]; !known {
			lines = append(lines, line)
		}
		said := e.answer.String()
		if e.hungUp {
			said = "hung up"
		}
		answers[line] = append(answers[line], said)
	}
	for i, line := range lines {
		lines[i] = line + "  # " + counted(answers[line])
	}
	return lines
}

// counted returns "201, 409 ×3" for what was answered in a row.
func counted(answers []string) string {
	var parts []string
	for i := 0; i < len(answers); {
		n := 1
		for i+n < len(answers) && answers[i+n] == answers[i] {
			n++
		}
		part := answers[i]
		if n > 1 {
			part = fmt.Sprintf("%s ×%d", part, n)
		}
		parts = append(parts, part)
		i += n
	}
	return strings.Join(parts, ", ")
}

func (c *client) curl(r request) string {
	words := []string{"curl -i -X " + r.method}
	header := c.headerOf(r)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			if isSecret(name) && name != c.cfg.KeyHeader {
				words = append(words, fmt.Sprintf(`-H "%s: $%s"`, name, variable(name, r.other && overridden(c.cfg.OtherHeader, name))))
				continue
			}
			words = append(words, "-H "+quoted(name+": "+value))
		}
	}
	if r.body != "" {
		words = append(words, "--data-raw "+quoted(r.body))
	}
	return strings.Join(append(words, quoted(r.url)), " ")
}

// isSecret reports whether a field is likely to have credentials. Reports end up in tickets and the
// logs of builds; so a shell variable stands for the value.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"auth", "cookie", "token", "secret", "key", "password", "credential", "session", "signature"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func variable(name string, other bool) string {
	v := strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToUpper(name))
	if other {
		return "OTHER_" + v
	}
	return v
}

func overridden(h http.Header, name string) bool { _, ok := h[name]; return ok }

// quoted quotes for a POSIX shell. What is too long to be read is cut.
func quoted(s string) string {
	if len(s) > maxBody {
		s = s[:maxBody] + fmt.Sprintf("…(%d bytes)", len(s))
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
