package config

import (
	"fmt"
	"io"
	"strings"
)

const usage = `Usage: once serve --upstream URL --scope SCOPE --in-doubt POLICY [flags]

Serve stands in front of one HTTP service and makes the operations that clients retry happen once:
a request with a key that was seen before gets the first one's response, and the service does not
see it.

Every flag is also an environment variable (--tls-cert is ONCE_TLS_CERT) and a key of the file
named by --config. Flags win over the environment, and that over the file.
`

const footer = `
Durations are written 500ms, 10s, 24h, 7d or forever; sizes 65536, 64KiB or 1MiB.

Settings of a route are in the file only:

  upstream: http://127.0.0.1:9000
  scope: header:X-Tenant
  in-doubt: hold
  routes:
    - match: POST /v1/charges
      key: required
      retention: 30d
    - match: POST /webhooks/{provider}
      key-from: json:id
      in-doubt: rerun

A route may have its own in-doubt, key, key-from, strict, lease, retention, wait, max-attempts,
keep, request-body and response-body. Match is a pattern of Go's net/http: METHOD /path, where
{name} stands for one segment and {name...} for the rest; without a method it is for --methods.

Exit status: 0 after a signal to stop, 1 after a failure, 2 if the settings are wrong.
`

// Help writes the help of once serve, with all settings and their defaults.
func Help(w io.Writer) {
	io.WriteString(w, usage)
	fmt.Fprintf(w, "\n  --config FILE\n%s", paragraph("YAML file with settings"))
	for _, s := range sections() {
		fmt.Fprintf(w, "\n%s\n", s.title)
		for _, f := range s.settings {
			fmt.Fprintf(w, "  --%s\n%s", strings.TrimSpace(f.name+" "+f.arg), paragraph(f.describe()))
		}
	}
	io.WriteString(w, footer)
}

func (s setting[T]) describe() string {
	switch {
	case s.required != "":
		return s.help + " (required)"
	case s.initial != "":
		return s.help + " (default: " + s.initial + ")"
	}
	return s.help
}

// paragraph wraps a text for a terminal.
func paragraph(text string) string {
	const indent, width = "        ", 88
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
