package onceamqp_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// An output that no broker takes dead-letters its message, and costs nobody else their connection.
func TestOutputsThatCanNeverBePublishedAreDeadLettered(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for name, bad := range map[string]oncemsg.Output{
		"id":           {ID: long},
		"header":       {Headers: map[string]string{long: "x"}},
		"content type": {Headers: map[string]string{"content-type": long}},
		"queue":        {To: long},
		"headers":      {Headers: map[string]string{"x": strings.Repeat("x", 200<<10)}},
		"payload":      {Payload: make([]byte, maxMessage+1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			p := newPublisher(l)
			other := make(chan error, 1)
			cfg := l.config(func(ctx context.Context, m oncemsg.Message) error {
				if m.ID != "bad" {
					return nil
				}
				out := bad
				if out.To == "" {
					out.To = l.dead
				}
				return oncemsg.Emit(ctx, oncemsg.Output{To: l.dead, ID: "before"}, out)
			})
			cfg.Consumer = l.consumer(func(c *oncemsg.Config) { c.Publish = p.Publish })
			stop := l.start(cfg)
			l.publish("bad")
			go func() { // which uses the same connection
				for range 50 {
					if err := p.Publish(t.Context(), []oncemsg.Output{{To: l.dead, ID: "other"}}); err != nil {
						other <- err
						return
					}
				}
				other <- nil
			}()
			l.ended(1, oncemsg.Unpublished)
			if err := <-other; err != nil {
				t.Errorf("another publication failed: %v", err)
			}
			stop()
			l.wantEmpty()
			letters := 0
			for _, d := range l.letters() {
				if d.MessageId == "bad" {
					letters++
				}
			}
			if letters != 1 {
				t.Errorf("%d dead letters, want one", letters)
			}
			err := p.Publish(t.Context(), []oncemsg.Output{bad})
			if _, final := errors.AsType[*once.FinalError](err); bad.To != "" && !final {
				t.Errorf("error is %v", err)
			}
		})
	}
}
