package onceredisstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/oncehq/once/oncemsg"
)

// idle sets how long an entry has been idle, if this consumer still has it: an entry that another
// one has taken over meanwhile must not be taken back. One that is no longer in the stream it leaves alone,
// since XCLAIM takes such an entry off the list without a word.
var idle = rueidis.NewLuaScript(`
local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if p[1] and p[1][2] ~= ARGV[2] then
  return 0
end
if #redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) == 0 then
  return -1
end
if p[1] then
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID')
end
return 1
`)

// errTrimmed is for an entry that cannot be delivered again.
var errTrimmed = errors.New("onceredisstream: the entry was trimmed from the stream, and cannot come again")

// maxReason is how many bytes of a reason are kept.
const maxReason = 1 << 10

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
		m.Verbs.DeadLetter = func(ctx context.Context, reason string) error { return r.deadLetter(ctx, e, m, reason) }
	}
	return m
}

// settle tells the server what was decided.
func (r *reader) settle(e rueidis.XRangeEntry, m oncemsg.Message, d oncemsg.Decision) error {
	err := r.cfg.Consumer.Settle(r.handling, m, d)
	if !errors.Is(err, errTrimmed) || d.Kind == oncemsg.InFlight { // then another one has it in hand
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.handling), replyTime)
	defer cancel()
	return r.rescue(ctx, e, m, d)
}

// rescue sets an entry aside that is to be handled again and is no longer in the stream: what it says
// is known to this process alone.
func (r *reader) rescue(ctx context.Context, e rueidis.XRangeEntry, m oncemsg.Message, d oncemsg.Decision) error {
	d.Verb, d.Err = oncemsg.DeadLetter, fmt.Errorf("%w: %w", errTrimmed, d.Err)
	set := r.cfg.Consumer.Config().DeadLetter
	if set == nil {
		return r.deadLetter(ctx, e, m, fmt.Sprintf("%s: %v", d.Kind, d.Err))
	}
	if err := set(ctx, m, d); err != nil {
		return fmt.Errorf("%w: %w", errTrimmed, err)
	}
	return r.ack(ctx, e.ID)
}

func (r *reader) ack(ctx context.Context, id string) error {
	c := r.cfg.Client
	if err := c.Do(ctx, c.B().Xack().Key(r.cfg.Stream).Group(r.cfg.Group).Id(id).Build()).Error(); err != nil {
		return fmt.Errorf("onceredisstream: acknowledge: %w", err)
	}
	return nil
}

func (r *reader) setIdle(ctx context.Context, id string, d time.Duration) error {
	known, err := idle.Exec(ctx, r.cfg.Client, []string{r.cfg.Stream},
		[]string{r.cfg.Group, r.cfg.Name, id, strconv.FormatInt(d.Milliseconds(), 10)}).AsInt64()
	switch {
	case err != nil:
		return fmt.Errorf("onceredisstream: renew: %w", err)
	case known < 0:
		return errTrimmed
	}
	return nil
}

// deadLetter adds the entry to the stream for such, and then acknowledges it: a crash between the
// two adds it twice.
func (r *reader) deadLetter(ctx context.Context, e rueidis.XRangeEntry, m oncemsg.Message, reason string) error {
	c := r.cfg.Client
	entry := c.B().Xadd().Key(r.cfg.DeadLetterStream).Id("*").FieldValue()
	for name, value := range e.FieldValues {
		if !strings.HasPrefix(name, deadPrefix) { // it was a dead letter before
			entry = entry.FieldValue(name, value)
		}
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	add := entry.FieldValue(FieldDeadReason, reason).FieldValue(FieldDeadStream, m.Source).
		FieldValue(FieldDeadEntry, m.Position).Build()
	if err := c.Do(ctx, add).Error(); err != nil {
		return fmt.Errorf("onceredisstream: dead-letter: %w", err)
	}
	return r.ack(ctx, e.ID)
}
