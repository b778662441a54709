package oncenats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oncehq/once"
)

const (
	// listStep is how many records are asked for at a time.
	listStep = 500

	// A list that is not continued for so long is forgotten by the server, and begun again where it was.
	listPatience = time.Minute

	// listTries bounds how often in succession it is begun again in vain.
	listTries = 5
)

// List implements [once.Lister]. The server goes through the records of one scope, or through all,
// without their outcomes, in the order in which they were written last.
func (s *Store) List(ctx context.Context, f once.Filter) iter.Seq2[once.Record, error] {
	return func(yield func(once.Record, error) bool) {
		fail := func(err error) { yield(once.Record{}, explain("list", err)) }
		if err := s.usable(ctx); err != nil {
			fail(err)
			return
		}
		l, err := s.newList(ctx, f)
		if err != nil {
			fail(err)
			return
		}
		defer l.end(context.WithoutCancel(ctx))
		for {
			found, err := l.step(ctx)
			if err != nil {
				fail(err)
				return
			}
			if len(found) == 0 {
				return
			}
			for _, rec := range found {
				if l.selected(rec) && !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// A list is a consumer of the stream that lives as long as the iteration.
type list struct {
	store    *Store
	filter   once.Filter
	subject  string // of the records
	stream   jetstream.Stream
	consumer jetstream.Consumer // nil: none at the moment
	now      time.Time          // at the beginning of the last step
	last     uint64             // how many messages the consumer has sent
	seq      uint64             // of the last one in the stream, also of consumers before

	// open has the records that were yielded while they were claims. They may come again when they
	// have changed; those that are done do not.
	open map[once.Key]bool
}

func (s *Store) newList(ctx context.Context, f once.Filter) (*list, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	js, err := s.jetStream()
	if err != nil {
		return nil, err
	}
	l := &list{store: s, filter: f, subject: s.target.subjects() + ">", open: make(map[once.Key]bool)}
	if f.Scope != "" {
		l.subject = s.target.subjects() + scopeToken(f.Scope) + ".*"
	}
	if l.stream, err = js.Stream(ctx, s.target.Stream); err != nil {
		return nil, err
	}
	return l, l.start(ctx)
}

// start makes a consumer that goes on after the last message that was read.
func (l *list) start(ctx context.Context) (err error) {
	l.consumer, err = l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Description:       "list of records",
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       l.seq + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubject:     l.subject,
		HeadersOnly:       true,
		InactiveThreshold: listPatience,
		MemoryStorage:     true,
		Replicas:          1,
	})
	l.last = 0
	return err
}

func (s *Store) jetStream() (jetstream.JetStream, error) {
	if s.target.Domain != "" {
		return jetstream.NewWithDomain(s.wire.nc, s.target.Domain)
	}
	return jetstream.New(s.wire.nc)
}

func (l *list) end(ctx context.Context) {
	if l.consumer == nil {
		return
	}
	ctx, cancel := l.store.bounded(ctx)
	defer cancel()
	l.stream.DeleteConsumer(ctx, l.consumer.CachedInfo().Name) // otherwise listPatience ends it
}

// step returns some more records, or none at the end. If the consumer is gone, or what it sent was lost
// on the way, which it does not send again, another one goes on.
func (l *list) step(ctx context.Context) ([]once.Record, error) {
	for tries := 1; ; tries++ {
		found, err := l.tryStep(ctx)
		switch unusable := l.store.usable(ctx); {
		case err == nil:
			return found, nil
		case unusable != nil:
			return nil, unusable
		case tries == listTries || errors.Is(err, once.ErrUnreadable):
			return nil, err
		}
		l.consumer = nil
	}
}

func (l *list) tryStep(ctx context.Context) ([]once.Record, error) {
	ctx, cancel, err := l.store.begin(ctx, "list")
	if err != nil {
		return nil, err
	}
	defer cancel()
	if l.now, err = l.store.now(ctx); err != nil {
		return nil, err
	}
	if l.consumer == nil {
		if err := l.start(ctx); err != nil {
			return nil, err
		}
	}
	for {
		n, found, err := l.fetch()
		if len(found) > 0 || err != nil {
			return found, err
		}
		if n > 0 {
			continue
		}
		if over, err := l.over(ctx); over || err != nil {
			return nil, err
		}
	}
}

// fetch asks for messages, and returns how many came, and what is to be yielded of them. What came
// before an error is yielded first.
func (l *list) fetch() (n int, found []once.Record, err error) {
	batch, err := l.consumer.FetchNoWait(listStep)
	if err != nil {
		return 0, nil, err
	}
	for m := range batch.Messages() {
		n++
		rec, stands, err := l.read(m)
		if err != nil {
			return n, found, only(found, err)
		}
		if stands {
			found = append(found, rec)
		}
	}
	return n, found, only(found, batch.Error())
}

// only returns the error if nothing was found: otherwise the next step meets it.
func only(found []once.Record, err error) error {
	if len(found) > 0 {
		return nil
	}
	return err
}

// over reports whether nothing is left. That nothing came is no proof of it.
func (l *list) over(ctx context.Context) (bool, error) {
	info, err := l.consumer.Info(ctx)
	switch {
	case err != nil:
		return false, err
	case info.Delivered.Consumer != l.last:
		return false, errGap
	}
	return info.NumPending == 0, nil
}

var errGap = errors.New("oncenats: the connection was lost; list again")

// read reads what the server sent.
func (l *list) read(m jetstream.Msg) (once.Record, bool, error) {
	meta, err := m.Metadata()
	if err != nil {
		return once.Record{}, false, err
	}
	if meta.Sequence.Consumer != l.last+1 {
		return once.Record{}, false, errGap
	}
	e, err := decode(nats.Header(m.Headers()).Get(headerRecord), meta.Sequence.Stream, meta.Timestamp, nil)
	if err != nil {
		name := strings.TrimPrefix(m.Subject(), l.store.target.subjects())
		return once.Record{}, false, fmt.Errorf("record %s: %w", name, err)
	}
	l.last, l.seq = meta.Sequence.Consumer, meta.Sequence.Stream
	rec, stands := e.record(l.now)
	if !stands || l.open[rec.Key] {
		return once.Record{}, false, nil
	}
	if rec.State != once.Done {
		l.open[rec.Key] = true
	}
	return rec, true, nil
}

func (l *list) selected(rec once.Record) bool {
	f := l.filter
	return (f.Scope == "" || f.Scope == rec.Key.Scope) &&
		(f.State == 0 || f.State == rec.State) &&
		l.now.Sub(rec.Created) >= f.OlderThan
}

// now returns the time of the stream's leader, at some moment after this was called.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	q := s.clock.ask()
	if q.age > 0 {
		q = s.clock.anew(q)
	}
	t, err := s.clock.read(ctx, q)
	return t.now, err
}
