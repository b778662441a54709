package verify

import (
	"bytes"
	"net/http"
)

// methodGet sends a key with a safe method, which must not make its response a recorded one.
func methodGet() group {
	return group{
		name:   "method-get",
		checks: []check{{"method-get", "RFC 9110 9.2.1"}},
		cost:   cost(1, 1),
		run: func(p *probe) error {
			const name = "method-get"
			op := p.next()
			get := p.keyed(operation{method: http.MethodGet, path: op.path, key: op.key}, p.request(op).keys...)
			counts := p.cfg.EffectsPath != "" && sameOrigin(p.cfg.url(p.cfg.EffectsPath), p.cfg.Target)
			if counts {
				get.url = p.effects(op).url
			}
			before, err := p.answered("GET with a key", get)
			if err != nil {
				return err
			}
			if _, err := p.send(underAnotherKey(op)); err != nil {
				return err
			}
			after, err := p.answered("GET with a key", get)
			if err != nil {
				return err
			}
			switch {
			case marked(before) != "", marked(after) != "":
				p.fail(name, "a GET with a key is answered from a record")
			case before.status == http.StatusNotFound, before.status == http.StatusMethodNotAllowed:
				p.skip(name, "there is no GET here (%d); --effects-path has one", before.status)
			case !before.ok() || !after.ok():
				p.warn(name, "a GET with a key is answered %d and %d; the key should not matter", before.status, after.status)
			case counts && bytes.Equal(before.body, after.body):
				p.fail(name, "a GET with a key is answered from a record: its response did not change when the state did")
			case counts:
				p.pass(name, "a GET with a key is answered anew")
			default:
				p.pass(name, "a GET with a key is answered as usual, without a mark of a replay")
			}
			return nil
		},
	}
}

// underAnotherKey returns the operation with a new key, so that only the GETs have the one given.
func underAnotherKey(op operation) operation {
	op.key = newUUID()
	return op
}

// methodPut retries a method that is idempotent anyway. A key must not be in its way.
func methodPut() group {
	return group{
		name:   "method-put",
		checks: []check{{"method-put", "RFC 9110 9.2.2"}},
		missing: func(cfg *Config) string {
			if cfg.PutPath == "" {
				return "give a PUT that is valid with --put-path and --put-body"
			}
			return ""
		},
		cost: cost(0, 0),
		run: func(p *probe) error {
			const name = "method-put"
			op := p.nextWith(p.cfg.PutBody)
			op.method, op.path = http.MethodPut, op.render(p.cfg.PutPath)
			first, err := p.send(op)
			if err != nil {
				return err
			}
			second, err := p.retried(op)
			if err != nil {
				return err
			}
			switch {
			case !first.ok():
				p.skip(name, "the PUT is not valid: %d", first.status)
			case !second.ok():
				p.fail(name, "PUT with a key is answered %d, its retry %d", first.status, second.status)
			default:
				p.pass(name, "PUT with a key may be retried: %d, then %d", first.status, second.status)
			}
			return nil
		},
	}
}
