package oncetest

import (
	"context"
	"time"

	"github.com/oncehq/once"
)

var sweeping = []property{
	{"Sweep removes nothing that is not over", sweepKeeps, 0},
	{"Sweep may run beside other verbs", sweepBeside, 0},
}

func sweepKeeps(x *trial) {
	s := optional[once.Sweeper](x)
	var kept []once.Claim
	for _, st := range x.standing() {
		kept = append(kept, x.record(st))
	}
	var over []once.Claim
	for range 20 {
		c := x.newClaim()
		x.winsAnew(c)
		x.completes(c, x.outcome(), x.opt.Lease)
		over = append(over, c)
	}
	x.lapses(over[len(over)-1].Key, 0)
	for _, c := range kept {
		x.untouched(c.Key, func() {
			n, err := s.Sweep(x.ctx)
			x.ok(err, "sweep")
			if n < 0 {
				x.Errorf("sweep removed %d records", n)
			}
		})
	}
	for _, c := range over {
		x.absent(c.Key)
		x.winsAnew(x.claimOn(c.Key))
	}
	for _, ctx := range x.finished() {
		for _, c := range kept {
			x.untouched(c.Key, func() { s.Sweep(ctx) })
		}
	}
}

func sweepBeside(x *trial) {
	s := optional[once.Sweeper](x)
	swept := make(chan error, 1)
	ctx, stop := context.WithCancel(x.ctx)
	go func() {
		for ctx.Err() == nil {
			if _, err := s.Sweep(x.ctx); err != nil {
				swept <- err
				return
			}
			time.Sleep(time.Millisecond)
		}
		swept <- nil
	}()
	for range 50 {
		c, out := x.newClaim(), x.outcome()
		x.winsAnew(c)
		x.completes(c, out, time.Nanosecond)
		c = x.newClaim()
		x.winsAnew(c)
		x.completes(c, out, long)
		x.holds(c.Key, out)
	}
	stop()
	x.ok(<-swept, "sweep beside other verbs")
}
