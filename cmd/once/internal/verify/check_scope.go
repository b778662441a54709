package verify

import (
	"bytes"
	"net/http"
)

// otherCredential uses the key of one caller with the credentials of another.
func otherCredential() group {
	return group{
		name:   "isolation-credential",
		checks: []check{{"isolation-credential", "5"}},
		missing: func(cfg *Config) string {
			if len(cfg.OtherHeader) == 0 {
				return "give the credentials of somebody else with --other-header"
			}
			return ""
		},
		cost: cost(3, 3),
		run: func(p *probe) error {
			const name = "isolation-credential"
			own := p.next()
			own.other = true
			if a, err := p.send(own); err != nil {
				return err
			} else if !a.ok() {
				p.skip(name, "the other credentials are not good for the operation: %d", a.status)
				return nil
			}
			op := p.next()
			first, err := p.send(op)
			if err != nil {
				return err
			}
			theirs := op
			theirs.other = true
			var second answer
			n, err := p.executions(op, func() (err error) { second, err = p.send(theirs); return err })
			if err != nil {
				return err
			}
			switch e := p.compare(first, second, n); {
			case second.status >= 500:
				p.fail(name, "the key of another caller makes the service fail: %d", second.status)
			case second.status == http.StatusUnauthorized, second.status == http.StatusForbidden:
				p.pass(name, "the key of another caller is refused with %d", second.status)
			case !second.ok():
				p.warn(name, "the key of another caller is answered %d: callers are in each other's way, and learn of each other's keys", second.status)
			case e == replayed:
				p.fail(name, "a caller with another's key is given the response of the other")
			case e == unclear:
				p.skip(name, cannotTell)
			default:
				p.pass(name, "the same key of two callers means two operations")
			}
			return nil
		},
	}
}

// otherRoute uses the key of an operation for another route.
func otherRoute() group {
	return group{
		name:   "isolation-route",
		checks: []check{{"isolation-route", "2.4, 5"}},
		missing: func(cfg *Config) string {
			if cfg.OtherPath == "" {
				return "give another route that takes the same body with --other-path"
			}
			return ""
		},
		cost: cost(3, 3),
		run: func(p *probe) error {
			const name = "isolation-route"
			own := p.next()
			own.path = own.render(p.cfg.OtherPath)
			if a, err := p.send(own); err != nil {
				return err
			} else if !a.ok() {
				p.skip(name, "the other route does not take the request: %d", a.status)
				return nil
			}
			op := p.next()
			first, err := p.send(op)
			if err != nil {
				return err
			}
			elsewhere := op
			elsewhere.path = op.render(p.cfg.OtherPath)
			second, err := p.send(elsewhere)
			if err != nil {
				return err
			}
			// The effects of the other route are counted somewhere else, if at all.
			switch {
			case second.status >= 500:
				p.fail(name, "a key from another route makes the service fail: %d", second.status)
			case !second.ok():
				p.pass(name, "a key from another route is refused with %d", second.status)
			case marked(second) != "", bytes.Equal(first.body, second.body) && p.tells:
				p.fail(name, "a route answers with the response of another route")
			case bytes.Equal(first.body, second.body):
				p.skip(name, cannotTell)
			default:
				p.pass(name, "the same key for two routes means two operations")
			}
			return nil
		},
	}
}
