package oncetest

import (
	"slices"

	"github.com/oncehq/once"
)

var forgetting = []property{
	{"Forget removes the record in any state if its owner is still this one", forgetAny, 0},
	{"Forget must return ErrLost if the owner is another, else ErrNotFound", forgetOther, 0},
}

var promising = []property{
	{"Guarantees name the engine and every survival", guaranteesNamed, 0},
}

func forgetAny(x *trial) {
	s := optional[once.Forgetter](x)
	for _, state := range x.standing() {
		c := x.record(state)
		fence := x.load(c.Key).Fence
		x.ok(s.Forget(x.ctx, c.Key, c.Owner), "forget")
		x.absent(c.Key)
		x.hasLost(c.Key, c.Owner)
		x.fails(once.ErrNotFound, s.Forget(x.ctx, c.Key, c.Owner), "forget again")
		next := x.elsewise(c)
		if got := x.winsAnew(next).Fence; got <= fence {
			x.Errorf("claim after the record was forgotten: fence is %d, want more than %d", got, fence)
		}
		x.fails(once.ErrLost, s.Forget(x.ctx, c.Key, c.Owner), "forget the next owner's record")
		out := x.outcome()
		x.completes(next, out, long)
		x.holds(c.Key, out)
	}
}

func forgetOther(x *trial) {
	s := optional[once.Forgetter](x)
	x.fails(once.ErrNotFound, s.Forget(x.ctx, x.key(), once.NewOwner()), "forget an absent operation")
	for _, state := range x.standing() {
		c := x.record(state)
		x.untouched(c.Key, func() {
			x.fails(once.ErrLost, s.Forget(x.ctx, c.Key, once.NewOwner()), "forget by another owner")
			for _, ctx := range x.finished() {
				x.failed(s.Forget(ctx, c.Key, c.Owner), "forget")
			}
		})
	}
}

func guaranteesNamed(x *trial) {
	g := optional[once.Guarantor](x).Guarantees()
	if g.Store == "" {
		x.Error("Guarantees.Store is empty; it must name the engine")
	}
	known := []once.Survival{once.Lost, once.Survives, once.NotApplicable}
	for event, s := range map[string]once.Survival{
		"Crash": g.Crash, "Power": g.Power, "Failover": g.Failover,
	} {
		if !slices.Contains(known, s) {
			x.Errorf("Guarantees.%s is %v, which means nothing", event, s)
		}
	}
	if g.Crash == once.Lost && g.Power == once.Survives {
		x.Error("claims survive a loss of power, but not the end of a process")
	}
	if g.Weakness() != "" && len(g.Notes) == 0 {
		x.Errorf("a claim may not survive %s, and Guarantees.Notes say nothing about it", g.Weakness())
	}
}
