package onceredisstream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once/oncemsg"
)

// idle sets how long an entry has been idle, if this consumer still has it: an entry that another
// one has taken over meanwhile must not be taken back.
var idle = rueidis.NewLuaScript(`
local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not p[1] or p[1][2] ~= ARGV[2] then
  return 0
end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID')
return 1
`)

// deliver describes one delivery of an entry, the nth as far as is known.
func (r *reader) deliver(e rueidis.XRangeEntry, attempt int) oncemsg.Message {
	m := message(r.cfg.Stream, e, r.cfg.IDField, r.cfg.PayloadField)
	m.Attempt = attempt
	m.Lease = r.cfg.Lease
	m.Verbs = oncemsg.Verbs{
		Ack:    func(ctx context.Context) error { return r.ack(ctx, e.ID) },
		Extend: func(ctx context.Context) error { return r.setIdle(ctx, e.ID, 0) },
		Nak: func(ctx context.Context, after time.Duration) error {
			return r.setIdle(ctx, e.ID, max(r.cfg.Lease-after, 0))
		},
		Delays: true,
	}
	if r.cfg.DeadLetterStream != "" {
		m.Verbs.DeadLetter = func(ctx context.Context, reason string) error { return r.deadLetter(ctx, e, reason) }
	}
	return m
}

func (r *reader) ack(ctx context.Context, id string) error {
	c := r.cfg.Client
	if err := c.Do(ctx, c.B().Xack().Key(r.cfg.Stream).Group(r.cfg.Group).Id(id).Build()).Error(); err != nil {
		return fmt.Errorf("onceredisstream: acknowledge: %w", err)
	}
	return nil
}

func (r *reader) setIdle(ctx context.Context, id string, d time.Duration) error {
	reply := idle.Exec(ctx, r.cfg.Client, []string{r.cfg.Stream},
		[]string{r.cfg.Group, r.cfg.Name, id, strconv.FormatInt(d.Milliseconds(), 10)})
	if err := reply.Error(); err != nil {
		return fmt.Errorf("onceredisstream: renew: %w", err)
	}
	return nil
}

// deadLetter adds the entry to the stream for such, and then acknowledges it: a crash between the
// two adds it twice.
func (r *reader) deadLetter(ctx context.Context, e rueidis.XRangeEntry, reason string) error {
	c := r.cfg.Client
	entry := c.B().Xadd().Key(r.cfg.DeadLetterStream).Id("*").FieldValue()
	for name, value := range e.FieldValues {
		entry = entry.FieldValue(name, value)
	}
	add := entry.FieldValue(FieldDeadReason, reason).FieldValue(FieldDeadStream, r.cfg.Stream).
		FieldValue(FieldDeadEntry, e.ID).Build()
	if err := c.Do(ctx, add).Error(); err != nil {
		return fmt.Errorf("onceredisstream: dead-letter: %w", err)
	}
	return r.ack(ctx, e.ID)
}
