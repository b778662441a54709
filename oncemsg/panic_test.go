package oncemsg_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

func TestPanicIsAFailure(t *testing.T) {
	c, r := newConsumer(t, oncemsg.Config{}), new(runs)
	d := c.Handle(t.Context(), message, func(context.Context, oncemsg.Message) error { panic(errNet) })
	wantDecision(t, d, oncemsg.Failed, oncemsg.Retry)
	p, ok := errors.AsType[*oncemsg.PanicError](d.Err)
	if !ok || !errors.Is(d.Err, errNet) || !strings.Contains(string(p.Stack), "TestPanicIsAFailure") ||
		p.Error() != "oncemsg: panic: connection reset" {
		t.Errorf("error is %#v", d.Err)
	}
	wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
}

// A handler that ends its goroutine, as t.FailNow does, must not leave the message in flight.
func TestGoexitIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newConsumer(t, oncemsg.Config{}), new(runs)
		go c.Handle(t.Context(), message, func(context.Context, oncemsg.Message) error {
			runtime.Goexit()
			return nil
		})
		synctest.Wait()
		wantDecision(t, c.Handle(t.Context(), message, r.handle), oncemsg.Ran, oncemsg.Ack)
	})
}

// What a message contains must not stop the consumer of all others.
func TestPanicOfAConfigFunctionIsTheFaultOfItsMessage(t *testing.T) {
	bad := func(m oncemsg.Message) bool { return m.ID == "bad" }
	for name, test := range map[string]struct {
		cfg  oncemsg.Config
		kind oncemsg.Kind
		verb oncemsg.Verb
	}{
		"Key": {oncemsg.Config{Key: func(m oncemsg.Message) (oncemsg.ID, bool) {
			if bad(m) {
				panic("no id")
			}
			return oncemsg.MessageID(m)
		}}, oncemsg.Unnamed, oncemsg.DeadLetter},
		"Fingerprint": {oncemsg.Config{Fingerprint: func(m oncemsg.Message) once.Fingerprint {
			if bad(m) {
				panic("no contents")
			}
			return oncemsg.ContentFingerprint(m)
		}}, oncemsg.Unnamed, oncemsg.DeadLetter},
		"Publish": {oncemsg.Config{Publish: func(_ context.Context, outputs []oncemsg.Output) error {
			if string(outputs[0].Payload) == "bad" {
				panic("no topic")
			}
			return nil
		}}, oncemsg.Unpublished, oncemsg.Retry},
		"DeadLetter": {oncemsg.Config{DeadLetter: func(_ context.Context, m oncemsg.Message, _ oncemsg.Decision) error {
			panic("no queue")
		}}, oncemsg.Rejected, oncemsg.Retry},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, handle way) {
				c := newConsumer(t, test.cfg)
				ms := messages("bad", "good")
				h := func(ctx context.Context, m oncemsg.Message) error {
					switch {
					case test.cfg.Publish != nil:
						return oncemsg.Emit(ctx, oncemsg.Output{Payload: m.Payload})
					case test.cfg.DeadLetter != nil && bad(m):
						return once.Final(errNet)
					}
					return nil
				}
				for range 2 {
					d := handle(c, t.Context(), ms[:1], h)[0]
					wantDecision(t, d, test.kind, test.verb)
					_, panicked := errors.AsType[*oncemsg.PanicError](d.Err)
					if !panicked && test.cfg.DeadLetter == nil {
						t.Errorf("error is %v", d.Err)
					}
				}
				if d := handle(c, t.Context(), ms[1:], h)[0]; d.Verb != oncemsg.Ack {
					t.Errorf("the other message: %+v", d)
				}
			})
		})
	}
}
