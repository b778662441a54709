package oncedisk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/oncehq/once"
)

// digests returns the ids of the names, or what is wrong with one of them.
func (s *IDs) digests(scope string, names []string) ([]id, error) {
	if len(names) > once.MaxIDs {
		return nil, fmt.Errorf("oncedisk: %d ids in one call; at most %d are allowed", len(names), once.MaxIDs)
	}
	n := s.seed.naming(scope)
	ids := make([]id, len(names))
	for i, name := range names {
		if err := (once.Key{Scope: scope, ID: name}).Check(); err != nil {
			return nil, fmt.Errorf("id %d of %d: %w", i+1, len(names), err)
		}
		ids[i] = n.id(name)
	}
	return ids, nil
}

// ClaimIDs implements [once.IDStore]. It writes nothing.
func (s *IDs) ClaimIDs(ctx context.Context, scope string, o once.Owner, names []string) ([]once.IDState, error) {
	ids, err := s.digests(scope, names)
	if err != nil {
		return nil, err
	}
	if o == (once.Owner{}) {
		return nil, errors.New("oncedisk: the owner is zero; use once.NewOwner")
	}
	states := make([]once.IDState, len(ids))
	c := idClaim{o, s.calls.Add(1)}
	for at := 0; at < len(ids); at += idsAtOnce {
		end := min(at+idsAtOnce, len(ids))
		if err := s.claim(ctx, c, ids[at:end], states[at:end]); err != nil {
			s.disclaim(o, ids[:at])
			return nil, err
		}
	}
	// Of those that are not in memory the claim is ours now, whatever the archives say, and nobody
	// else asks them meanwhile.
	found, err := s.askArchives(ids, states)
	if err != nil {
		s.disclaim(o, ids)
		if errors.Is(err, fs.ErrClosed) { // meanwhile
			err = once.ErrClosed
		}
		return nil, err
	}
	if found {
		s.giveBack(c, ids, states)
	}
	return states, nil
}

// claim claims what is not known in memory.
func (s *IDs) claim(ctx context.Context, c idClaim, ids []id, states []once.IDState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if full := s.full.Load(); full != nil {
		return fmt.Errorf("%w: %w", once.ErrFull, *full)
	}
	now := s.clock.now()
	for i, d := range ids {
		standing, claimed := s.claims[d]
		switch {
		case claimed && (standing.owner != c.owner || standing == c):
			states[i] = once.IDInFlight
		case s.isYoung(d, now):
			states[i] = once.IDDone
		default:
			s.claims[d] = c
			states[i] = once.IDClaimed
		}
	}
	return nil
}

// isYoung reports whether the id is done, as far as is known in memory.
func (s *IDs) isYoung(d id, now instant) bool {
	for i := len(s.young) - 1; i >= 0; i-- {
		if b := s.young[i]; b.table.has(d) && !b.over(now, s.cfg.Window) {
			return true
		}
	}
	return false
}

// askArchives looks for what was claimed in all archives, and notes what is done.
func (s *IDs) askArchives(ids []id, states []once.IDState) (found bool, err error) {
	now := s.clock.now()
	// One archive after the other, so that its filter stays in the processor's cache.
	for _, a := range *s.archive.Load() {
		if a.over(now, s.cfg.Window) {
			continue
		}
		for i, d := range ids {
			if states[i] != once.IDClaimed {
				continue
			}
			has, err := a.has(d)
			if err != nil {
				return false, err
			}
			if has {
				states[i], found = once.IDDone, true
			}
		}
	}
	return found, nil
}

// giveBack ends the call's claims of ids that are done. Copies of them in the same call are done
// too.
func (s *IDs) giveBack(c idClaim, ids []id, states []once.IDState) {
	done := make(map[id]bool)
	s.mu.Lock()
	for i, d := range ids {
		if states[i] == once.IDDone {
			if s.claims[d] == c {
				delete(s.claims, d)
			}
			done[d] = true
		}
	}
	s.mu.Unlock()
	for i, d := range ids {
		if done[d] {
			states[i] = once.IDDone
		}
	}
}

// CompleteIDs implements [once.IDStore]. If ctx is done before they are, they are completed
// without the caller.
func (s *IDs) CompleteIDs(ctx context.Context, scope string, _ once.Owner, names []string) error {
	ids, err := s.digests(scope, names)
	if err != nil || len(ids) == 0 {
		return err
	}
	s.mu.Lock()
	if err := s.usable(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	g := s.join(ids)
	s.mu.Unlock()
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReleaseIDs implements [once.IDStore].
func (s *IDs) ReleaseIDs(ctx context.Context, scope string, o once.Owner, names []string) error {
	ids, err := s.digests(scope, names)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.disclaim(o, ids)
	return nil
}

// disclaim ends the owner's claims of the ids.
func (s *IDs) disclaim(o once.Owner, ids []id) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ids {
		if s.claims[d].owner == o {
			delete(s.claims, d)
		}
	}
}
