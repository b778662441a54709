package onceredisstream_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceredisstream"
)

// A dead letter is the entry that it was, named by its producer or not: found again when it is moved
// back, and forgotten by what it is.
func TestDeadLettersKeepTheirNames(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{
		"named":   {onceredisstream.FieldID, "a", onceredisstream.FieldPayload, "pay a"},
		"unnamed": {onceredisstream.FieldPayload, "pay a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			var runs atomic.Int64
			var repaired atomic.Bool
			cfg := l.config(func(context.Context, oncemsg.Message) error {
				if runs.Add(1); repaired.Load() {
					return nil
				}
				return once.Final(errors.New("no"))
			})
			l.start(cfg)
			letters := func(n int) (last rueidis.XRangeEntry) {
				t.Helper()
				l.eventually("it is set aside", func() bool {
					all, err := l.client.Do(t.Context(), l.client.B().Xrange().Key(dead).Start("-").End("+").Build()).AsXRange()
					if err != nil || len(all) < n {
						return false
					}
					last = all[n-1]
					return true
				})
				return last
			}
			moveBack := func(e rueidis.XRangeEntry) {
				add := []string{"XADD", stream, "*"}
				for name, value := range e.FieldValues {
					add = append(add, name, value)
				}
				l.server.Command(t, add...)
			}
			l.server.Command(t, append([]string{"XADD", stream, "*"}, fields...)...)
			first := letters(1)
			moveBack(first)
			again := letters(2)
			if runs.Load() != 1 {
				t.Errorf("it was run %d times, want once", runs.Load())
			}
			if again.FieldValues[onceredisstream.FieldDeadEntry] != first.FieldValues[onceredisstream.FieldDeadEntry] {
				t.Errorf("what it was first is lost: %q", again.FieldValues)
			}
			repaired.Store(true)
			if err := cfg.Consumer.Forget(t.Context(), onceredisstream.Message(dead, again)); err != nil {
				t.Fatal(err)
			}
			moveBack(again)
			l.settled(3)
			if runs.Load() != 2 {
				t.Errorf("it was run %d times, want twice", runs.Load())
			}
		})
	}
}
