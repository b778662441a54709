package oncetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oncehq/once"
)

// idMap is a right [once.IDStore] in memory, but for the one bug that it may be given.
type idMap struct {
	bug   string
	lease time.Duration

	mu     sync.Mutex
	claims map[string]idMapClaim
	done   map[string]bool
}

type idMapClaim struct {
	owner once.Owner
	until time.Time
}

func newIDMap(bug string, lease time.Duration) *idMap {
	return &idMap{bug: bug, lease: lease, claims: map[string]idMapClaim{}, done: map[string]bool{}}
}

// name returns what an id is kept as.
func (m *idMap) name(scope, id string) string {
	switch m.bug {
	case "scope and id are joined":
		return scope + id
	case "ids are text":
		return fmt.Sprintf("%d %s%q", len(scope), scope, bytes.Trim([]byte(id), "\x00 "))
	}
	return fmt.Sprintf("%d %s%s", len(scope), scope, id)
}

func (m *idMap) check(ctx context.Context, scope string, ids []string) error {
	if err := ctx.Err(); err != nil && m.bug != "contexts are ignored" {
		return err
	}
	if len(ids) > once.MaxIDs && m.bug != "calls have no limit" {
		return errors.New("too many ids")
	}
	for _, id := range ids {
		if err := (once.Key{Scope: scope, ID: id}).Check(); err != nil && m.bug != "ids are not checked" {
			return err
		}
	}
	return nil
}

func (m *idMap) ClaimIDs(ctx context.Context, scope string, o once.Owner, ids []string) ([]once.IDState, error) {
	if err := m.check(ctx, scope, ids); err != nil {
		return nil, err
	}
	if o == (once.Owner{}) {
		return nil, errors.New("the owner is zero")
	}
	states, here := make([]once.IDState, len(ids)), map[string]bool{}
	for i, id := range ids {
		name := m.name(scope, id)
		m.mu.Lock()
		c, claimed := m.claims[name]
		claimed = claimed && time.Now().Before(c.until)
		if m.bug == "claims are looked up before they are made" {
			m.mu.Unlock()
			time.Sleep(time.Millisecond)
			m.mu.Lock()
		}
		switch {
		case m.done[name]:
			states[i] = once.IDDone
		case claimed && c.owner != o && m.bug != "claims are ignored",
			claimed && c.owner == o && m.bug == "a repeated claim is another's",
			here[name] && m.bug != "copies are all claimed":
			states[i] = once.IDInFlight
		default:
			states[i] = once.IDClaimed
			m.claims[name] = idMapClaim{o, time.Now().Add(m.lease)}
		}
		here[name] = true
		m.mu.Unlock()
	}
	if m.bug == "states are in another order" {
		slices.Reverse(states)
	}
	return states, nil
}

func (m *idMap) CompleteIDs(ctx context.Context, scope string, o once.Owner, ids []string) error {
	if err := m.check(ctx, scope, ids); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		name := m.name(scope, id)
		if m.bug == "only the owner completes" && m.claims[name].owner != o {
			continue
		}
		m.done[name] = m.bug != "ids are claimed again when done"
		delete(m.claims, name)
	}
	return nil
}

func (m *idMap) ReleaseIDs(ctx context.Context, scope string, o once.Owner, ids []string) error {
	if err := m.check(ctx, scope, ids); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		name := m.name(scope, id)
		if m.bug == "releasing forgets what is done" {
			delete(m.done, name)
		}
		if m.claims[name].owner == o && m.bug != "nothing is released" || m.bug == "anybody releases" {
			delete(m.claims, name)
		}
	}
	return nil
}

// idMutants are bugs, and the properties that have to fail because of them.
var idMutants = []struct{ bug, fails string }{
	{"states are in another order", "a claimed id is in flight for others"},
	{"claims are ignored", "a claimed id is in flight for others"},
	{"a repeated claim is another's", "repeating a claim returns the same"},
	{"copies are all claimed", "of copies in one call only the first is claimed"},
	{"claims are looked up before they are made", "of many claims on an id one wins"},
	{"ids are claimed again when done", "completed ids stay done"},
	{"only the owner completes", "ids are completed whoever has claimed them"},
	{"nothing is released", "released ids are absent"},
	{"anybody releases", "only the owner releases"},
	{"releasing forgets what is done", "done ids are not released"},
	{"scope and id are joined", "scope and id do not run into each other"},
	{"ids are text", "ids are binary"},
	{"calls have no limit", "a call takes MaxIDs ids and no more"},
	{"ids are not checked", "what is wrong with one id changes nothing for others"},
	{"contexts are ignored", "a call whose context is done changes nothing"},
	{"what is done is not kept", "done ids are there for a later process"},
	{"anybody releases", "a claim whose lease is over is given to another"},
}

func idOptions(bug string) IDOptions {
	var last *idMap
	return IDOptions{
		Open: func(*testing.T) once.IDStore { last = newIDMap(bug, time.Hour); return last },
		OpenAgain: func(*testing.T) once.IDStore {
			if bug == "what is done is not kept" {
				return newIDMap(bug, time.Hour)
			}
			return last
		},
		OpenLeased: func(_ *testing.T, lease time.Duration) once.IDStore { return newIDMap(bug, lease) },
	}
}

// TestIDKitPassesMap shows that it is the bugs that make the kit fail.
func TestIDKitPassesMap(t *testing.T) {
	t.Parallel()
	TestIDStore(t, idOptions(""))
}

// TestIDKitFailsMutants shows that each property of ids is missed by a store that has not got it.
func TestIDKitFailsMutants(t *testing.T) {
	if bug := os.Getenv(mutantEnv); bug != "" {
		TestIDStore(t, idOptions(bug))
		return
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range idMutants {
		t.Run(m.bug+", "+m.fails, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), self, "-test.timeout=5m",
				"-test.run=^TestIDKitFailsMutants$/^"+testName(m.fails)+"$")
			run.Env = append(os.Environ(), mutantEnv+"="+m.bug)
			out, err := run.CombinedOutput()
			want := "--- FAIL: TestIDKitFailsMutants/" + testName(m.fails) + " "
			if _, failed := errors.AsType[*exec.ExitError](err); !failed || !bytes.Contains(out, []byte(want)) {
				t.Errorf("the kit does not find that %q fails (%v):\n%s", m.fails, err, out[max(0, len(out)-2000):])
			}
		})
	}
}
