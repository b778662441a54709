package oncemsg

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/oncehq/once"
)

// An Output is a message that a handler produces.
type Output struct {
	// To is where it goes: a topic, subject or queue.
	To string

	// ID is its own id, to be sent so that its consumers know a copy of it. Defaults to one
	// that is derived from the message being handled and Name, and so is the same in
	// every attempt.
	ID string

	// Name tells the outputs of one message apart for the id. Defaults to the number of the
	// output: set it if the handler does not emit in the same order each time.
	Name string

	// OrderBy names what the output must keep its order with: the key of a Kafka record, an
	// ordering key, a message group.
	OrderBy string

	Headers map[string]string
	Payload []byte
}

// Emit hands over messages to be published when the message being handled is done. They are
// recorded together with that, then published, and only then is the message acknowledged; if a
// copy of it comes later they are published again, with the same ids. If the handler fails they
// are dropped.
//
// It fails outside of a handler, after the handler has returned, and where nothing is published.
// The payload and headers must not be changed afterwards. Handlers may call it in several goroutines.
func Emit(ctx context.Context, outputs ...Output) error {
	t, ok := ctx.Value(turnKey{}).(*turn)
	if !ok {
		return errors.New("oncemsg: emit outside of a handler; use the context that the handler was given")
	}
	return t.emit(outputs)
}

type turnKey struct{}

// A turn is one run of a handler, and its context.
type turn struct {
	context.Context
	attempt *once.Attempt
	emits   bool

	mu      sync.Mutex // guards the rest
	outputs []Output
	over    bool
}

func (c *Consumer) newTurn(a *once.Attempt) *turn {
	return &turn{Context: a.Context(), attempt: a, emits: c.cfg.Publish != nil}
}

func (t *turn) Value(key any) any {
	if _, ok := key.(turnKey); ok {
		return t
	}
	return t.Context.Value(key)
}

func (t *turn) emit(outputs []Output) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.emits:
		return errNoPublish
	case t.over:
		return errors.New("oncemsg: emit after the handler has returned; wait for its goroutines")
	}
	for _, o := range outputs {
		if o.ID == "" {
			name := "named/" + o.Name
			if o.Name == "" {
				name = "output/" + strconv.Itoa(len(t.outputs))
			}
			o.ID = t.attempt.DerivedID(name)
		}
		t.outputs = append(t.outputs, o)
	}
	return nil
}

func (t *turn) close() []Output {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	return t.outputs
}
