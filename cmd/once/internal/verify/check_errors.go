package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// failed retries an operation that ended in an error of the client.
func failed() group {
	return group{
		name:   "error-replay",
		checks: []check{{"error-replay", "2.6"}},
		missing: func(cfg *Config) string {
			if cfg.BadBody == "" {
				return "give a body that is answered with an error (4xx) with --bad-body"
			}
			return ""
		},
		cost: cost(0, 0),
		run: func(p *probe) error {
			const name = "error-replay"
			op := p.nextWith(p.cfg.BadBody)
			first, err := p.send(op)
			if err != nil {
				return err
			}
			second, err := p.retried(op)
			if err != nil {
				return err
			}
			switch {
			case first.status < 400 || first.status > 499:
				p.skip(name, "the bad body is answered %d, which is no error of the client", first.status)
			case first.status != second.status:
				p.fail(name, "an error is answered %d, its retry %d", first.status, second.status)
			case marked(second) != "":
				p.pass(name, "an error is replayed: %d", first.status)
			case bytes.Equal(first.body, second.body):
				p.pass(name, "a retry after an error gets the same error: %d", first.status)
			default:
				p.warn(name, "an error (%d) is not replayed: a retry is processed again", first.status)
			}
			return nil
		},
	}
}

// large retries an operation whose response is large. It may be lost, but the operation
// must not be executed again to get it.
func large() group {
	return group{
		name:   "large-response",
		checks: []check{{"large-response", "2.6"}},
		missing: func(cfg *Config) string {
			if cfg.LargeBody == "" {
				return "give a body that is answered with a large response with --large-body"
			}
			return ""
		},
		cost: cost(1, 2),
		run: func(p *probe) error {
			const name = "large-response"
			op := p.nextWith(p.cfg.LargeBody)
			first, err := p.send(op)
			if err != nil {
				return err
			}
			var second answer
			n, err := p.executions(op, func() (err error) { second, err = p.retried(op); return err })
			if err != nil {
				return err
			}
			e := p.compare(first, second, n)
			switch size := len(first.body); {
			case !first.ok():
				p.skip(name, "the large body is answered %d", first.status)
			case n > 0, second.ok() && e == executed:
				p.fail(name, "after a response of %d bytes, a retry executed the operation again", size)
			case second.status >= 500 || comeBack(second):
				p.fail(name, "after a response of %d bytes, a retry is answered %d", size, second.status)
			case !second.ok():
				p.pass(name, "a response of %d bytes is not kept: its retry is answered %d, and not executed", size, second.status)
			case !bytes.Equal(first.body, second.body):
				p.fail(name, "the replay of a response of %d bytes has %d", size, len(second.body))
			case e == unclear:
				p.skip(name, cannotTell)
			default:
				p.pass(name, "a response of %d bytes is replayed whole", size)
			}
			return nil
		},
	}
}

// problems looks at the errors that were seen before.
func problems() group {
	return group{
		name:   "problems",
		checks: []check{{"problem-json", "2.7, RFC 9457"}, {"problem-link", "2.7"}},
		cost:   cost(0, 0),
		run: func(p *probe) error {
			if len(p.refusals) == 0 {
				p.skip("problem-json", "there was no refusal")
				p.skip("problem-link", "there was no refusal")
				return nil
			}
			var wrong, mute []string
			for _, r := range p.refusals {
				kind, err := problemType(r.answer)
				if err != nil {
					wrong = append(wrong, fmt.Sprintf("%s (%d): %v", r.what, r.answer.status, err))
				}
				if (kind == "" || kind == "about:blank") && !describedBy(r.answer) {
					mute = append(mute, fmt.Sprintf("%s (%d)", r.what, r.answer.status))
				}
			}
			if len(wrong) > 0 {
				p.warn("problem-json", "%d of %d refusals are no application/problem+json; %s", len(wrong), len(p.refusals), wrong[0])
			} else {
				p.pass("problem-json", "%d refusals are described by application/problem+json", len(p.refusals))
			}
			if len(mute) > 0 {
				p.warn("problem-link", "%d of %d refusals have neither a type nor a Link with rel=describedby, such as that of %s",
					len(mute), len(p.refusals), mute[0])
			} else {
				p.pass("problem-link", "%d refusals say where they are documented", len(p.refusals))
			}
			return nil
		},
	}
}

// problemType returns the type of an RFC 9457 problem, or what is wrong with it.
func problemType(a answer) (string, error) {
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if media != "application/problem+json" {
		return "", fmt.Errorf("Content-Type is %q", a.header.Get("Content-Type"))
	}
	var problem struct {
		Type   string
		Title  string
		Status int
	}
	if err := json.Unmarshal(a.body, &problem); err != nil {
		return "", fmt.Errorf("body is no such JSON: %w", err)
	}
	if problem.Status != 0 && problem.Status != a.status {
		return problem.Type, fmt.Errorf("member status is %d", problem.Status)
	}
	if problem.Title == "" {
		return problem.Type, fmt.Errorf("member title is missing")
	}
	return problem.Type, nil
}

// describedBy reports whether there is a link to documentation (RFC 8288).
func describedBy(a answer) bool {
	for _, link := range a.header[http.CanonicalHeaderKey("Link")] {
		for part := range strings.SplitSeq(strings.ToLower(link), ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			value, _, _ = strings.Cut(value, ",")
			if strings.TrimSpace(name) == "rel" && strings.Contains(strings.Trim(value, `" `), "describedby") {
				return true
			}
		}
	}
	return false
}
