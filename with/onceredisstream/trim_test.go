package onceredisstream_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncehq/once/oncemsg"
)

// A stream is trimmed while an entry is being handled. When that has failed, nobody but this process knows
// what the entry said.
func TestEntryThatIsTrimmedWhileItFailsIsSetAside(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		takes time.Duration // for the lease to be renewed, or for another consumer to look for it
		own   bool          // the consumer has a DeadLetter
	}{
		"at once":                  {0, false},
		"after a renewal":          {600 * time.Millisecond, false},
		"after a lease":            {3 * time.Second, false},
		"to the consumer's letter": {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			fails := func(ctx context.Context, m oncemsg.Message) error {
				l.server.Command(t, "XTRIM", stream, "MAXLEN", "0")
				time.Sleep(test.takes)
				return errors.New("the database is down")
			}
			cfg := l.config(fails)
			var set atomic.Bool
			if test.own {
				cfg.DeadLetterStream = ""
				cfg.Consumer = l.consumer(func(c *oncemsg.Config) {
					c.DeadLetter = func(_ context.Context, m oncemsg.Message, d oncemsg.Decision) error {
						set.Store(string(m.Payload) == "pay a" && d.Kind == oncemsg.Failed)
						return nil
					}
				})
			}
			l.start(cfg)
			l.start(cfg) // would take over what is idle
			l.add("a")
			l.eventually("it is set aside", func() bool {
				letter := l.server.Command(t, "XRANGE", dead, "-", "+")
				return set.Load() || strings.Contains(letter, "pay a") && strings.Contains(letter, "the database is down")
			})
			l.eventually("nothing is left pending", func() bool {
				return strings.HasPrefix(l.server.Command(t, "XPENDING", stream, group), "0\n")
			})
		})
	}
}
