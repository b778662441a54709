package onceredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// idsPerScript bounds how long one script keeps the server from others.
const idsPerScript = 1000

// An idCall is the part of a call's ids that one script deals with.
type idCall struct {
	part    int
	digests []byte
	at      []int // where in the call each of them is
}

// split sorts the ids of a call by scripts.
func (ids *IDs) split(scope string, names []string) ([]*idCall, error) {
	if len(names) > once.MaxIDs {
		return nil, fmt.Errorf("onceredis: %d ids in one call; at most %d are allowed", len(names), once.MaxIDs)
	}
	var calls []*idCall
	open := make([]*idCall, ids.parts)
	for i, name := range names {
		if err := (once.Key{Scope: scope, ID: name}).Check(); err != nil {
			return nil, fmt.Errorf("id %d of %d: %w", i+1, len(names), err)
		}
		d, part := ids.digest(scope, name)
		c := open[part]
		if c == nil || len(c.at) == idsPerScript {
			c = &idCall{part: part}
			open[part] = c
			calls = append(calls, c)
		}
		c.digests = append(c.digests, d[:]...)
		c.at = append(c.at, i)
	}
	return calls, nil
}

// run sends a verb for all of the calls at once, and returns the replies.
func (ids *IDs) run(ctx context.Context, verb idVerb, calls []*idCall, o once.Owner) ([]rueidis.RedisMessage, error) {
	if err := ids.s.usable(ctx); err != nil {
		return nil, err
	}
	x := ids.scripts[verb]
	lease := strconv.FormatInt(millis(ids.cfg.Lease), 10)
	replies := make([]rueidis.RedisMessage, len(calls))
	send := func(todo []int, command func(rueidis.Builder, string, ...string) rueidis.Completed) (unknown []int, first error) {
		if len(todo) == 0 {
			return nil, nil
		}
		cmds := make(rueidis.Commands, len(todo))
		for n, i := range todo {
			key := ids.head + strconv.Itoa(calls[i].part) + "}"
			cmds[n] = command(ids.s.client.B(), key,
				ids.layout[0], ids.layout[1], ids.layout[2], string(calls[i].digests), string(o[:]), lease)
		}
		for n, reply := range ids.s.client.DoMulti(patient{ctx}, cmds...) {
			m, err := reply.ToMessage()
			if isNoScript(err) {
				unknown = append(unknown, todo[n])
				continue
			}
			replies[todo[n]] = m
			if err != nil && first == nil {
				first = ids.s.explain("ids", err) // the others most likely have the same cause
			}
		}
		return unknown, first
	}
	all := make([]int, len(calls))
	for i := range all {
		all[i] = i
	}
	unknown, err := send(all, x.evalsha)
	if err == nil {
		_, err = send(unknown, x.eval)
	}
	return replies, err
}

// ClaimIDs implements [once.IDStore].
func (ids *IDs) ClaimIDs(ctx context.Context, scope string, o once.Owner, names []string) ([]once.IDState, error) {
	if o == (once.Owner{}) {
		return nil, errors.New("onceredis: the owner is zero; use once.NewOwner")
	}
	calls, err := ids.split(scope, names)
	if err != nil {
		return nil, err
	}
	replies, err := ids.run(ctx, claimIDs, calls, o)
	if err != nil {
		return nil, err
	}
	states := make([]once.IDState, len(names))
	first := make(map[[idSize]byte]bool)
	for n, c := range calls {
		answer, err := replies[n].ToString()
		if err != nil || len(answer) != len(c.at) {
			return nil, fmt.Errorf("onceredis: ids: the reply has %d states, want %d: %w", len(answer), len(c.at), err)
		}
		for j, at := range c.at {
			states[at] = once.IDState(answer[j] - '0')
			if states[at] != once.IDClaimed || len(calls) == 1 {
				continue
			}
			// A copy that went with another script was answered as if the call had been repeated.
			d := [idSize]byte(c.digests[j*idSize:])
			if first[d] {
				states[at] = once.IDInFlight
			}
			first[d] = true
		}
	}
	return states, nil
}

// CompleteIDs implements [once.IDStore].
func (ids *IDs) CompleteIDs(ctx context.Context, scope string, o once.Owner, names []string) error {
	calls, err := ids.split(scope, names)
	if err != nil {
		return err
	}
	_, err = ids.run(ctx, completeIDs, calls, o)
	return err
}

// ReleaseIDs implements [once.IDStore].
func (ids *IDs) ReleaseIDs(ctx context.Context, scope string, o once.Owner, names []string) error {
	calls, err := ids.split(scope, names)
	if err != nil {
		return err
	}
	_, err = ids.run(ctx, releaseIDs, calls, o)
	return err
}
