package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// unknown is a number of executions that cannot be determined.
const unknown = -1

// executions counts the effects of what f does, if that is possible.
func (p *probe) executions(op operation, f func() error) (int, error) {
	before, err := p.count(op)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := p.count(op)
	if err != nil || after == unknown {
		return unknown, err
	}
	return after - before, nil
}

// count reads the number of effects.
func (p *probe) count(op operation) (int, error) {
	if p.cfg.EffectsPath == "" {
		return unknown, nil
	}
	a, err := p.raw(p.effects(op))
	if err != nil {
		return 0, err
	}
	if a.err != nil {
		return 0, fmt.Errorf("effects cannot be counted: %w", a.err)
	}
	n, err := p.readCount(a)
	if err != nil {
		return 0, fmt.Errorf("effects cannot be counted: %w", err)
	}
	return n, nil
}

// effects returns the request that counts. Credentials are for the target alone.
func (p *probe) effects(op operation) request {
	where := p.cfg.url(op.render(p.cfg.EffectsPath))
	return request{method: http.MethodGet, url: where, plain: !sameOrigin(where, p.cfg.Target)}
}

func sameOrigin(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && u.Scheme == v.Scheme && u.Host == v.Host
}

func (p *probe) readCount(a answer) (int, error) {
	if !a.ok() {
		return 0, fmt.Errorf("GET was answered %d", a.status)
	}
	doc, err := decodeJSON(a.body)
	if err != nil {
		return 0, fmt.Errorf("response is not JSON: %w", err)
	}
	value, err := at(doc, p.cfg.EffectsPointer)
	if err != nil {
		return 0, err
	}
	switch v := value.(type) {
	case []any:
		return len(v), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n), nil
		}
	}
	return 0, errors.New("there is no integer and no array; see --effects-pointer")
}

// An evidence says if a second answer is that of a second execution.
type evidence uint8

const (
	unclear evidence = iota
	replayed
	executed
)

// compare concludes from two answers, and the executions between them if they were counted, whether
// the second is a replay of the first.
func (p *probe) compare(first, second answer, executions int) evidence {
	switch {
	case executions > 0:
		return executed
	case executions == 0, marked(second) != "":
		return replayed
	case !bytes.Equal(first.body, second.body):
		return executed
	case p.tells:
		return replayed
	}
	return unclear
}

// marked returns the name of the field that says that a response is a replay, or "". There is no
// standard; the names that are in use have "replay" in them, or speak of idempotency and say so.
func marked(a answer) string {
	for name, values := range a.header {
		n, v := strings.ToLower(name), strings.ToLower(strings.Join(values, ","))
		said := strings.Contains(n, "replay") && v != "false" && v != "0" && v != "no"
		if strings.Contains(n, "idempoten") {
			for _, word := range []string{"replay", "hit", "cached", "duplicate"} {
				said = said || strings.Contains(v, word)
			}
		}
		if said && !strings.HasPrefix(n, "access-control-") {
			return name
		}
	}
	return ""
}

// cannotTell is why a check is skipped for want of evidence.
const cannotTell = "cannot tell a replay from another execution; count effects with --effects-path"
