package verify

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// replay compares a response with the one that a retry gets.
func replay() group {
	return group{
		name: "replay",
		checks: []check{{"retry-once", "2.6"}, {"replay-status", "2.6"}, {"replay-headers", "2.6"},
			{"replay-body", "2.6"}, {"replay-marker", "practice"}, {"replay-cache-control", "RFC 9111 5.2.2.5"},
			{"replay-set-cookie", "RFC 6265 4.1"}},
		cost: cost(1, 3),
		run:  runReplay,
	}
}

func runReplay(p *probe) error {
	op := p.next()
	var a, b, c answer
	n, err := p.executions(op, func() (err error) {
		if a, err = p.send(op); err != nil {
			return err
		}
		if b, err = p.retried(op); err != nil {
			return err
		}
		c, err = p.retried(op)
		return err
	})
	if err != nil {
		return err
	}
	again := unknown
	if n > 0 {
		again = n - 1
	}
	for _, name := range []string{"replay-status", "replay-headers", "replay-body", "replay-marker",
		"replay-cache-control", "replay-set-cookie"} {
		p.skip(name, "the retry got no replay")
	}
	evidence := max(p.compare(a, b, again), p.compare(a, c, again))
	switch {
	case comeBack(b) && !a.ok():
		p.fail("retry-once", "the first request was answered %d, its retry %d", a.status, b.status)
		return nil
	case n == 0:
		p.fail("retry-once", "the operation was not executed at all, but answered %d", a.status)
		return nil
	case evidence == executed:
		p.fail("retry-once", "the operation was executed again for a retry%s", ifCounted(n))
		return nil
	case !b.ok() || !c.ok():
		p.fail("retry-once", "the first request was answered %d, retries after its end %d and %d", a.status, b.status, c.status)
		return nil
	case evidence == unclear:
		p.skip("retry-once", cannotTell)
	default:
		p.pass("retry-once", "two retries did not execute the operation again%s", ifCounted(n))
	}
	p.compareReplays(a, b, c)
	return nil
}

func ifCounted(n int) string {
	if n == unknown {
		return ""
	}
	return fmt.Sprintf("; it was executed %s", times(n))
}

// compareReplays holds two replays against the response they should repeat.
func (p *probe) compareReplays(a, b, c answer) {
	if b.status == a.status && c.status == a.status {
		p.pass("replay-status", "the replay has the same status, %d", a.status)
	} else {
		p.fail("replay-status", "the first response has status %d, replays %d and %d", a.status, b.status, c.status)
	}
	if diff := max(p.differing(a, b), p.differing(a, c)); diff == "" {
		p.pass("replay-headers", "the replay has the same fields")
	} else {
		p.fail("replay-headers", "fields are absent from the replay, or have another value: %s", diff)
	}
	switch {
	case bytes.Equal(a.body, b.body) && bytes.Equal(a.body, c.body):
		p.pass("replay-body", "the replay has the same body, %d bytes", len(a.body))
	default:
		p.fail("replay-body", "bodies differ: %.60q, in replays %.60q and %.60q", a.body, b.body, c.body)
	}
	if p.marker = marked(b); p.marker != "" {
		p.pass("replay-marker", "a replay says so: %s", p.marker)
	} else {
		p.warn("replay-marker", "a client cannot tell a replay: no field says so, such as Idempotency-Replayed")
	}
	switch control := strings.ToLower(b.header.Get("Cache-Control")); {
	case strings.Contains(control, "no-store"), strings.Contains(control, "no-cache"), strings.Contains(control, "private"):
		p.pass("replay-cache-control", "no shared cache keeps the replay: %s", control)
	default:
		p.warn("replay-cache-control", "a replay has no Cache-Control: no-store, and is of no use to anybody else")
	}
	first, repeated := a.header.Values("Set-Cookie"), b.header.Values("Set-Cookie")
	switch {
	case len(first) == 0:
		p.skip("replay-set-cookie", "the operation sets no cookie")
	case slices.ContainsFunc(repeated, func(c string) bool { return slices.Contains(first, c) }):
		p.warn("replay-set-cookie", "the replay sets the cookie of the first response again; a session may be old, or not the caller's")
	default:
		p.pass("replay-set-cookie", "the cookie of the first response is not set again")
	}
}

// differing returns the fields of a that b lacks or has with another value. Fields that b has in
// addition do no harm.
func (p *probe) differing(a, b answer) string {
	var diff []string
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		if !p.mayDiffer(name) && !slices.Equal(a.header[name], b.header[name]) {
			diff = append(diff, name)
		}
	}
	return strings.Join(diff, ", ")
}

// mayDiffer reports whether a field is about one connection, one moment or one request, or is
// made up anew by whatever stands before the service.
func (p *probe) mayDiffer(name string) bool {
	switch name {
	case "Age", "Alt-Svc", "Authentication-Info", "Cache-Control", "Clear-Site-Data", "Connection", "Content-Length",
		"Date", "Expires", "Keep-Alive", "Nel", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection",
		"Report-To", "Reporting-Endpoints", "Server", "Server-Timing", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding",
		"Upgrade", "Vary", "Via", "Warning", "Www-Authenticate", "Access-Control-Expose-Headers", "Cf-Ray", "Traceparent",
		"Tracestate", "X-Cache", "X-Runtime", "X-Served-By", "X-Timer":
		return true
	}
	lower := strings.ToLower(name)
	for _, part := range []string{"request-id", "requestid", "correlation", "trace", "ratelimit", "rate-limit", "response-time",
		"replay", "idempoten"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return slices.ContainsFunc(p.cfg.IgnoreHeaders, func(s string) bool { return http.CanonicalHeaderKey(s) == name })
}
