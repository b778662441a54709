package oncetest

import (
	"context"
	"time"

	"github.com/oncehq/once"
)

var listing = []property{
	{"List yields the records that match with Outcome.Data left out", listMatches, 0},
	{"List selects by state", listStates, 0},
	{"List selects by age", listAges, 0},
	{"List with the zero Filter selects all", listAll, 0},
	{"List yields no record that is over", listOver, 0},
	{"other verbs may be used while records are listed", listReentrant, 0},
	{"List ends with an error when its context is done", listCancelled, 0},
}

// optional returns the store as a T, or skips the test.
func optional[T any](x *trial) T {
	x.Helper()
	s, ok := x.store.(T)
	if !ok {
		x.Skipf("%T does not have it", x.store)
	}
	return s
}

// list returns what is listed in the trial's scope, by key.
func (x *trial) list(f once.Filter) map[once.Key]once.Record {
	x.Helper()
	found := make(map[once.Key]once.Record)
	for rec, err := range optional[once.Lister](x).List(x.ctx, f) {
		x.ok(err, "list")
		if _, twice := found[rec.Key]; twice {
			x.Errorf("a record was listed twice")
		}
		if rec.Outcome.Data != nil {
			x.Errorf("a record was listed with its Outcome.Data")
		}
		found[rec.Key] = rec
	}
	return found
}

// lists checks that exactly these keys are listed.
func (x *trial) lists(f once.Filter, want ...once.Key) map[once.Key]once.Record {
	x.Helper()
	found := x.list(f)
	for _, k := range want {
		if _, ok := found[k]; !ok {
			x.Errorf("of %d records one was not listed, of scope %q and id %q", len(want), k.Scope, k.ID)
		}
	}
	if len(found) > len(want) {
		x.Errorf("%d records were listed, want %d", len(found), len(want))
	}
	return found
}

func listMatches(x *trial) {
	optional[once.Lister](x)
	var keys []once.Key
	for _, s := range x.standing() {
		keys = append(keys, x.record(s).Key)
	}
	for _, id := range []string{"\x00", "\xff\xfe", "a/b:c", "🔑", "%", "'"} {
		c := x.claimOn(once.Key{Scope: x.scope, ID: id})
		x.winsAnew(c)
		x.completes(c, once.Outcome{Failed: true, Type: "text/plain", Data: []byte(id)}, long)
		keys = append(keys, c.Key)
	}
	for _, scope := range []string{x.scope + "x", x.scope + "\x00", x.scope[:len(x.scope)-1], x.scope + "%"} {
		c := x.claimOn(once.Key{Scope: scope, ID: "elsewhere"})
		x.winsAnew(c)
		x.completes(c, x.outcome(), long)
	}
	for k, listed := range x.lists(once.Filter{Scope: x.scope}, keys...) {
		loaded := x.look(k)
		listed.Outcome.Data = loaded.Outcome.Data
		if listed.Outcome.Failed != loaded.Outcome.Failed || listed.Outcome.Type != loaded.Outcome.Type {
			x.Errorf("the listed record has the outcome %s, want %s but for the data",
				outline(listed.Outcome), outline(loaded.Outcome))
		}
		if (listed.Lease > 0) != (loaded.Lease > 0) || (listed.Retention > 0) != (loaded.Retention > 0) {
			x.Errorf("the listed record is %s, want %s", describe(listed), describe(loaded.Record))
		}
		listed.Lease, listed.Retention = loaded.Lease, loaded.Retention
		x.same(sight{listed, loaded.from, loaded.to}, loaded)
	}
}

func listStates(x *trial) {
	optional[once.Lister](x)
	all := []once.State{once.InFlight, once.InDoubt, once.Done}
	keys := make(map[once.State][]once.Key)
	for _, s := range x.standing() {
		for range 3 {
			keys[s] = append(keys[s], x.record(s).Key)
		}
	}
	for _, s := range all {
		for _, rec := range x.lists(once.Filter{Scope: x.scope, State: s}, keys[s]...) {
			if rec.State != s {
				x.Errorf("among records %v one was listed that is %v", s, rec.State)
			}
		}
	}
	if x.opt.Transactional {
		return
	}
	lapsing := x.newClaim()
	lapsing.Lease = x.opt.Lease
	x.winsAnew(lapsing)
	x.lapses(lapsing.Key, once.InDoubt)
	x.lists(once.Filter{Scope: x.scope, State: once.InDoubt}, append(keys[once.InDoubt], lapsing.Key)...)
	x.lists(once.Filter{Scope: x.scope, State: once.InFlight}, keys[once.InFlight]...)
}

func listAges(x *trial) {
	optional[once.Lister](x)
	old := x.record(once.Done)
	made := time.Now()
	time.Sleep(x.opt.Lease + 2*x.opt.Slack)
	second := time.Now()
	x.record(once.Done)

	age := time.Since(made) / 2 // the old record is at least twice as old
	found := x.list(once.Filter{Scope: x.scope, OlderThan: age})
	if _, ok := found[old.Key]; !ok {
		x.Errorf("a record of more than %v was not among those older than %v", 2*age, age)
	}
	if time.Since(second)+x.opt.Slack < age && len(found) != 1 {
		x.Errorf("%d records were older than %v, want 1", len(found), age)
	}
	x.lists(once.Filter{Scope: x.scope, OlderThan: 100 * long})
}

func listAll(x *trial) {
	optional[once.Lister](x)
	want := make(map[once.Key]bool)
	for range 3 {
		c := x.claimOn(once.Key{Scope: x.scope + x.key().ID, ID: "a"})
		x.winsAnew(c)
		x.completes(c, x.outcome(), long)
		want[c.Key] = true
	}
	for rec, err := range optional[once.Lister](x).List(x.ctx, once.Filter{}) {
		x.ok(err, "list")
		delete(want, rec.Key)
	}
	if len(want) > 0 {
		x.Errorf("%d of 3 records were not listed", len(want))
	}
}

func listOver(x *trial) {
	optional[once.Lister](x)
	stays := x.record(once.Done)
	var gone []once.Key
	for range 5 {
		c := x.newClaim()
		x.winsAnew(c)
		x.completes(c, x.outcome(), x.opt.Lease)
		gone = append(gone, c.Key)
	}
	released := x.newClaim()
	x.winsAnew(released)
	x.releases(released)
	for _, k := range gone {
		x.lapses(k, 0)
	}
	x.lists(once.Filter{Scope: x.scope}, stays.Key)
}

func listReentrant(x *trial) {
	s := optional[once.Lister](x)
	for range 20 {
		x.record(once.Done)
	}
	seen := 0
	for rec, err := range s.List(x.ctx, once.Filter{Scope: x.scope, State: once.Done}) {
		x.ok(err, "list")
		x.load(rec.Key)
		x.stands(x.claimOn(rec.Key))
		if seen++; seen == 10 {
			break
		}
		x.record(once.Done)
	}
	if seen < 10 {
		x.Errorf("%d records were listed, want 20", seen)
	}
	x.winsAnew(x.newClaim()) // leaving the loop left nothing locked
}

func listCancelled(x *trial) {
	s := optional[once.Lister](x)
	x.record(once.Done)
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	var last error
	for _, err := range s.List(ctx, once.Filter{Scope: x.scope}) {
		if last != nil {
			x.Fatal("the iteration went on after an error")
		}
		last = err
	}
	x.failed(last, "list")
}
