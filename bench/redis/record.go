package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/bench/contest"
	"github.com/oncehq/once/store/onceredis"
)

// commands are what the store sends for an operation, up to the key and the owner. They are
// taken from the server, so that what is compared is what is sent.
type commands struct {
	claim, complete []string
	id, owner       string // to be replaced
}

func record(ctx context.Context, addr string, store *onceredis.Store, out once.Outcome) (commands, error) {
	c := contest.NewClaim(contest.NewID())
	told, err := monitor(addr, func() error {
		_, err := store.Claim(ctx, c)
		return errors.Join(err, store.Complete(ctx, c.Key, c.Owner, out, contest.Retention))
	})
	if err != nil {
		return commands{}, err
	}
	told = slices.DeleteFunc(told, func(args []string) bool { return !strings.EqualFold(args[0], "evalsha") })
	if len(told) != 2 {
		return commands{}, errors.New("the store did not send two commands for a claim and a completion")
	}
	return commands{claim: told[0], complete: told[1], id: c.Key.ID, owner: string(c.Owner[:])}, nil
}

// fill returns the command's arguments for another operation, without its name.
func (c commands) fill(cmd []string, id, owner string) []string {
	args := make([]string, len(cmd)-1)
	for i, a := range cmd[1:] {
		if len(a) < 1000 { // not the outcome
			if at := strings.Index(a, c.id); at >= 0 {
				a = a[:at] + id + a[at+len(c.id):]
			} else if at := strings.Index(a, c.owner); at >= 0 {
				a = a[:at] + owner + a[at+len(c.owner):]
			}
		}
		args[i] = a
	}
	return args
}
