// Package verify tests an HTTP service from outside: does it keep the promises of the
// Idempotency-Key header? It knows nothing of how the service works, and executes its operation many
// times.
//
// The standard is draft-ietf-httpapi-idempotency-key-header-07. What it demands with MUST, and
// whatever lets an operation happen twice, get lost or be shown to somebody else, is a failure; what
// it wants with SHOULD, and good practice, is a warning.
package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A check is a property that a service has or not.
type check struct {
	name    string
	section string // of the draft, unless it names another document
}

// A group is a sequence of requests that decides some checks.
type group struct {
	name   string // in the user agent
	checks []check

	// missing says what the configuration lacks for the group to run; "" is nothing.
	missing func(*Config) string

	// cost returns how many operations run if the service conforms, and how many if it runs
	// each request.
	cost func(*Config) (ops, most int)

	run func(*probe) error
}

func groups() []group {
	return []group{
		first(), keyMissing(), keySyntax(), keyBare(), replay(), mismatchAfter(), mismatchInFlight(), concurrent(),
		parallel(), hangUp(), otherCredential(), otherRoute(), methodGet(), methodPut(), failed(), large(), problems(),
		expiry(),
	}
}

// A Verifier tests one service.
type Verifier struct {
	cfg    Config
	groups []group
}

// New checks the configuration, and reports all that is wrong with it at once.
func New(cfg Config) (*Verifier, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Verifier{cfg, groups()}, nil
}

// Plan says how often [Verifier.Run] executes the operation: on a service that conforms, and at most
// on one that executes each request. Retries of a key that stays in flight are not counted.
func (v *Verifier) Plan() (ops, most int) {
	for _, g := range v.groups {
		if g.lacks(&v.cfg) == "" {
			o, m := g.cost(&v.cfg)
			ops, most = ops+o, most+m
		}
	}
	return ops, most
}

func (g *group) lacks(cfg *Config) string {
	if g.missing == nil {
		return ""
	}
	return g.missing(cfg)
}

// Run tests the service. The error says that it could not: it cannot be reached, or refuses the
// request that should be valid.
func (v *Verifier) Run(ctx context.Context) (*Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, v.cfg.Timeout,
		fmt.Errorf("it took longer than %v; raise --timeout", v.cfg.Timeout))
	defer cancel()
	c := newClient(&v.cfg)
	defer c.close()
	r := &Report{Target: v.cfg.Target, Operation: v.cfg.Method + " " + v.cfg.Path, Strict: v.cfg.Strict}
	if v.cfg.Path == "" {
		u, _ := url.Parse(v.cfg.Target) // as checked
		r.Operation = v.cfg.Method + " " + u.EscapedPath()
	}
	s := &state{n: time.Now().UnixMilli()}
	for i, g := range v.groups {
		if v.cfg.Progress != nil {
			v.cfg.Progress(i, len(v.groups), g.name)
		}
		err := v.runGroup(ctx, c, s, r, &g)
		r.Requests = c.sent.Load()
		if target, ok := errors.AsType[*TargetError](err); ok {
			return r, target
		}
	}
	return r, nil
}

// runGroup runs a group and adds a finding for each of its checks.
func (v *Verifier) runGroup(ctx context.Context, c *client, s *state, r *Report, g *group) error {
	why := g.lacks(&v.cfg)
	p := &probe{ctx: ctx, cfg: &v.cfg, client: c, state: s, group: g, found: map[string]Finding{}}
	var err error
	switch {
	case why != "":
	case r.Unfinished != "":
		why = "not run: " + r.Unfinished
	default:
		if err = g.run(p); err != nil {
			why = err.Error()
			if _, ok := errors.AsType[*noAnswerError](err); !ok {
				r.Unfinished = why
			}
		}
	}
	requests := c.curls(c.taken())
	for _, check := range g.checks {
		f, ok := p.found[check.name]
		switch {
		case ok:
		case r.Unfinished == "" && err != nil:
			f = Finding{Result: Fail, Why: why} // the service broke the connection off
		default:
			f = Finding{Result: Skip, Why: why}
		}
		f.Name, f.Section, f.Requests = check.name, check.section, requests
		if f.Result == Warn && v.cfg.Strict {
			f.Result = Fail
		}
		r.Findings = append(r.Findings, f)
	}
	return err
}

// A TargetError says why a service cannot be tested.
type TargetError struct{ reason string }

func (e *TargetError) Error() string { return e.reason }

// url returns where a path leads.
func (cfg *Config) url(path string) string {
	if isURL(path) {
		return path
	}
	return strings.TrimSuffix(cfg.Target, "/") + path
}
