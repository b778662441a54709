package verify

import (
	"fmt"
	"net/http"
)

// first sends the request that should be valid, and learns what the others need to know.
func first() group {
	return group{
		name:   "first",
		checks: []check{{"first-request", "2.6"}},
		cost:   func(*Config) (int, int) { return 2, 2 },
		run:    runFirst,
	}
}

func runFirst(p *probe) error {
	op := p.next()
	var a answer
	n, err := p.executions(op, func() (err error) { a, err = p.send(op); return err })
	if err != nil {
		return &TargetError{err.Error()}
	}
	if !a.ok() {
		return &TargetError{fmt.Sprintf("the request that should be valid was answered %d %s: %.300s%s", a.status,
			http.StatusText(a.status), oneLine(string(a.body)), p.hint(a))}
	}
	if n != unknown && n != 1 {
		return &TargetError{fmt.Sprintf("the effect of one operation was counted %s; is it the right place, and does "+
			"nobody else use the service?", times(n))}
	}
	p.usual = a.took()
	// The same request under another key: if the service takes it and its responses differ, then
	// a response tells which execution it is of.
	again := op
	again.key = newUUID()
	b, err := p.send(again)
	if err != nil {
		return err
	}
	if b.ok() {
		p.usual = min(p.usual, b.took()) // the first had to connect
	}
	p.tells = b.ok() && marked(b) == "" && string(b.body) != string(a.body)
	if m := marked(a); m != "" {
		p.fail("first-request", "a new key is answered as if it were a replay: %s", m)
		return nil
	}
	p.pass("first-request", "a new key is processed: %d in %s", a.status, short(p.usual))
	return nil
}

func (p *probe) hint(a answer) string {
	if a.status == http.StatusBadRequest && !p.cfg.Bare {
		return "; does it want keys without quotes (--bare)?"
	}
	return ""
}
