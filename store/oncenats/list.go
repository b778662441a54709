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

	// A list that is not continued for so long is forgotten by the server.
	listPatience = time.Minute
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
	stream   jetstream.Stream
	consumer jetstream.Consumer
	now      time.Time // at the beginning of the last step
	last     uint64    // how many messages the server has sent

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
	filter := s.target.subjects() + ">"
	if f.Scope != "" {
		filter = s.target.subjects() + scopeToken(f.Scope) + ".*"
	}
	stream, err := js.Stream(ctx, s.target.Stream)
	if err != nil {
		return nil, err
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Description:       "list of records",
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubject:     filter,
		HeadersOnly:       true,
		InactiveThreshold: listPatience,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return nil, err
	}
	return &list{store: s, filter: f, stream: stream, consumer: consumer, open: make(map[once.Key]bool)}, nil
}

func (s *Store) jetStream() (jetstream.JetStream, error) {
	if s.target.Domain != "" {
		return jetstream.NewWithDomain(s.wire.nc, s.target.Domain)
	}
	return jetstream.New(s.wire.nc)
}

func (l *list) end(ctx context.Context) {
	ctx, cancel := l.store.bounded(ctx)
	defer cancel()
	l.stream.DeleteConsumer(ctx, l.consumer.CachedInfo().Name) // otherwise listPatience ends it
}

// step returns some more records, or none at the end.
func (l *list) step(ctx context.Context) ([]once.Record, error) {
	if err := l.store.usable(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := l.store.bounded(ctx)
	defer cancel()
	var err error
	if l.now, err = l.store.now(ctx); err != nil {
		return nil, err
	}
	for {
		n, found, err := l.fetch()
		switch {
		case err != nil:
			return nil, err
		case len(found) > 0:
			return found, nil
		case n > 0:
			continue
		}
		if over, err := l.over(ctx); over || err != nil {
			return nil, err
		}
	}
}

// fetch asks for messages, and returns how many came, and what is to be yielded of them.
func (l *list) fetch() (n int, found []once.Record, err error) {
	batch, err := l.consumer.FetchNoWait(listStep)
	if err != nil {
		return 0, nil, err
	}
	for m := range batch.Messages() {
		n++
		rec, stands, err := l.read(m)
		if err != nil {
			return n, nil, err
		}
		if stands {
			found = append(found, rec)
		}
	}
	return n, found, batch.Error()
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

// errGap: the server does not send again what was lost on the way.
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
	l.last++
	e, err := decode(nats.Header(m.Headers()).Get(headerRecord), meta.Sequence.Stream, meta.Timestamp, nil)
	if err != nil {
		name := strings.TrimPrefix(m.Subject(), l.store.target.subjects())
		return once.Record{}, false, fmt.Errorf("record %s: %w", name, err)
	}
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
	if err := s.wire.ready(ctx); err != nil {
		return time.Time{}, err
	}
	q := s.clock.ask()
	if q.age > 0 {
		q = s.clock.anew(q)
	}
	t, err := s.clock.read(ctx, q)
	return t.now, err
}
