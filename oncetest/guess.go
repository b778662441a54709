package oncetest

import (
	"context"
	"fmt"
	"time"

	"github.com/oncehq/once"
)

// A guess is a state that the store may be in as far as one key goes: that of a model which gave
// the same replies so far. Which fences a store gives out is its own choice as long as they grow,
// so a guess remembers which of the store's was the model's latest.
type guess struct {
	model *Model
	fence struct{ store, model uint64 }
}

// after returns the guess after the step, and in what the store's reply to it differs from the
// model's, if it does.
func (g guess) after(st step, got reply, slack time.Duration) (_ guess, differs string) {
	if st.cancelled {
		if got.err == nil {
			return g, "the error"
		}
		return g, ""
	}
	next := guess{model: g.model.Clone(), fence: g.fence}
	want := st.on(context.Background(), next.model)
	if differs := got.differs(want, slack); differs != "" || want.State == 0 {
		return next, differs
	}
	switch {
	case want.Fence == g.fence.model && got.Fence != g.fence.store:
		return next, fmt.Sprintf("the fence, which was %d without a claim that won since,", g.fence.store)
	case want.Fence > g.fence.model && got.Fence <= g.fence.store:
		return next, fmt.Sprintf("the fence, which was %d already,", g.fence.store)
	}
	next.fence.store, next.fence.model = got.Fence, want.Fence
	return next, ""
}

// forgotten returns the guess that the store forgot the key, which it may have done.
func (g guess) forgotten(k once.Key) guess {
	next := guess{model: g.model.Clone(), fence: g.fence}
	next.model.Drop(k)
	return next
}

// String tells two guesses apart that differ in what they would reply at the moment, and in no
// more than that.
func (g guess) String() string {
	text := fmt.Sprint(g.fence)
	for k := range g.model.records {
		rec, err := g.model.Load(context.Background(), k)
		text += fmt.Sprintf(" %v %x %v", reply{rec, err}, rec.Fingerprint, rec.Outcome.Failed)
	}
	return text
}
