package verify

import (
	"fmt"
	"net/http"
	"strings"
)

// cost is that of a group which always sends the same number of operations.
func cost(ops, most int) func(*Config) (int, int) {
	return func(*Config) (int, int) { return ops, most }
}

func keyMissing() group {
	return group{
		name:   "key-missing",
		checks: []check{{"key-missing", "2.7"}},
		cost:   cost(1, 1), // it may be optional
		run: func(p *probe) error {
			a, err := p.answered("a request without a key", p.keyed(p.next()))
			if err != nil {
				return err
			}
			const name = "key-missing"
			switch {
			case a.status == http.StatusBadRequest:
				p.pass(name, "a request without a key is refused with 400")
				p.refusals = append(p.refusals, refusal{"missing key", a})
			case a.ok() && p.cfg.KeyRequired:
				p.fail(name, "a request without a key is executed (%d), although the operation requires one", a.status)
			case a.ok():
				p.warn(name, "a request without a key is executed (%d); is a key optional here?", a.status)
			default:
				p.refusedOddly(name, "a request without a key", a)
			}
			return nil
		},
	}
}

// refusedOddly reports a refusal by another status than 400.
func (p *probe) refusedOddly(name, what string, a answer) {
	if a.status >= 500 {
		p.fail(name, "%s makes the service fail: %d", what, a.status)
		return
	}
	p.warn(name, "%s is answered %d, not 400", what, a.status)
}

// tooLong is longer than any service allows, and short enough for proxies.
const tooLong = 4000

// malformed are no Structured Field Strings (RFC 9651 section 4.2.5), nor sensible without quotes.
func malformed() []string {
	k := newUUID()
	return []string{`"` + k, `"` + k + `" x`, `"` + k + `\x"`, `"ü-` + k + `"`, `""`}
}

func keySyntax() group {
	return group{
		name: "key-syntax",
		checks: []check{{"key-malformed", "2.1, 5"}, {"key-too-long", "5"},
			{"key-two-lines", "2.1, RFC 9651 4.2"}},
		cost: cost(0, 7),
		run: func(p *probe) error {
			if err := p.runMalformed(); err != nil {
				return err
			}
			op := p.next()
			long := `"` + strings.Repeat("k", tooLong-len(op.key)) + op.key + `"`
			if p.cfg.Bare {
				long = strings.Trim(long, `"`)
			}
			err := p.mustRefuse("key-too-long", fmt.Sprintf("a key of %d bytes", tooLong), p.keyed(op, long))
			if err != nil {
				return err
			}
			op = p.next()
			a, b := p.request(op).keys[0], p.request(p.next()).keys[0]
			return p.mustRefuse("key-two-lines", "a request with two keys", p.keyed(op, a, b))
		},
	}
}

// mustRefuse expects 400 for a request, whose key is wrong.
func (p *probe) mustRefuse(name, what string, r request) error {
	a, err := p.answered(what, r)
	if err != nil {
		return err
	}
	switch {
	case a.status == http.StatusBadRequest:
		p.pass(name, "%s is refused with 400", what)
		p.refusals = append(p.refusals, refusal{what, a})
	case a.ok():
		p.warn(name, "%s is accepted (%d)", what, a.status)
	case name == "key-too-long" && (a.status == http.StatusRequestHeaderFieldsTooLarge || a.status == http.StatusRequestEntityTooLarge):
		p.pass(name, "%s is refused with %d", what, a.status)
	default:
		p.refusedOddly(name, what, a)
	}
	return nil
}

func (p *probe) runMalformed() error {
	const name = "key-malformed"
	var accepted, odd []string
	wrong := malformed()
	for _, key := range wrong {
		what := "a malformed key"
		if key == `""` {
			what = "an empty key"
		}
		a, err := p.answered(what, p.keyed(p.next(), key))
		if err != nil {
			return err
		}
		switch {
		case a.status == http.StatusBadRequest:
			p.refusals = append(p.refusals, refusal{what, a})
		case a.ok():
			accepted = append(accepted, key)
		case a.status >= 500:
			p.fail(name, "the key %s makes the service fail: %d", key, a.status)
			return nil
		default:
			odd = append(odd, fmt.Sprintf("%s: %d", key, a.status))
		}
	}
	switch {
	case len(accepted) > 0:
		p.warn(name, "%d of %d malformed keys are accepted: %s", len(accepted), len(wrong), strings.Join(accepted, "  "))
	case len(odd) > 0:
		p.warn(name, "malformed keys are not answered 400: %s", strings.Join(odd, "  "))
	default:
		p.pass(name, "%d malformed keys are refused with 400", len(wrong))
	}
	return nil
}

// keyBare sends the same key with and without quotes: clients do both, and one that changes its
// library in the middle of an operation must not do it twice.
func keyBare() group {
	return group{
		name:   "key-bare",
		checks: []check{{"key-bare", "2.1, RFC 9651 3.3.3"}},
		cost:   cost(1, 2),
		run: func(p *probe) error {
			op := p.next()
			other := p.keyed(op, op.key)
			name, what := "key-bare", "the same key without quotes"
			if p.cfg.Bare {
				other, what = p.keyed(op, `"`+op.key+`"`), "the same key with quotes"
			}
			first, err := p.send(op)
			if err != nil {
				return err
			}
			var second answer
			n, err := p.executions(op, func() (err error) { second, err = p.answered(what, other); return err })
			if err != nil {
				return err
			}
			switch {
			case second.status >= 500:
				p.fail(name, "%s makes the service fail: %d", what, second.status)
			case !second.ok():
				p.pass(name, "%s is refused with %d", what, second.status)
			case p.compare(first, second, n) == executed:
				p.fail(name, "%s is taken for another: the operation was executed again", what)
			case p.compare(first, second, n) == unclear:
				p.skip(name, cannotTell)
			case p.cfg.Strict:
				p.fail(name, "%s is accepted, but it must be a String", what)
			default:
				p.pass(name, "%s is the same key", what)
			}
			return nil
		},
	}
}
