package onceredis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// topics are the subscriptions of one store: one for each operation that somebody waits for, over
// the connections that the store has anyway. The channel is named like the record's key, so that in
// a Cluster it lives in the same shard.
type topics struct {
	client  rueidis.Client
	sharded bool
	ctx     context.Context // done when the store is closed
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu sync.Mutex // guards the map and every topic
	m  map[string]*topic
}

// A topic is what is told about one operation. Messages may be lost; then there is other news.
type topic struct {
	waits int
	live  bool               // the server has confirmed the subscription
	news  chan struct{}      // closed, and replaced, when something was told or live has changed
	stop  context.CancelFunc // ends the present subscription
}

func (ts *topics) init(client rueidis.Client, sharded bool) {
	ts.client, ts.sharded = client, sharded
	ts.m = make(map[string]*topic)
	ts.ctx, ts.cancel = context.WithCancel(context.Background())
}

func (ts *topics) close() {
	ts.cancel()
	ts.wg.Wait()
}

// join returns the topic of the channel. The caller must leave it.
func (ts *topics) join(channel string) *topic {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.m[channel]
	if t == nil {
		t = &topic{news: make(chan struct{}), stop: func() {}}
		ts.m[channel] = t
		ts.wg.Go(func() { ts.serve(channel, t) })
	}
	t.waits++
	return t
}

func (ts *topics) leave(t *topic) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.waits--; t.waits == 0 {
		t.stop()
	}
}

// look returns a channel that is closed at the next news, and whether the subscription is
// confirmed: then every message from now on is news.
func (ts *topics) look(t *topic) (news <-chan struct{}, live bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return t.news, t.live
}

func (ts *topics) tell(t *topic, live bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.live = live
	close(t.news)
	t.news = make(chan struct{})
}

// serve keeps the subscription up while anybody waits.
func (ts *topics) serve(channel string, t *topic) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		ctx, cancel := context.WithCancel(ts.ctx)
		ts.mu.Lock()
		if t.waits == 0 || ts.ctx.Err() != nil {
			delete(ts.m, channel)
			ts.mu.Unlock()
			cancel()
			return
		}
		t.stop = cancel
		ts.mu.Unlock()

		began := time.Now()
		ts.receive(ctx, channel, t)
		ts.tell(t, false)
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		cancel()
	}
}

// receive subscribes, and returns when the context is done or the connection is lost.
func (ts *topics) receive(ctx context.Context, channel string, t *topic) {
	b := ts.client.B()
	subscribe := b.Subscribe().Channel(channel).Build()
	if ts.sharded {
		subscribe = b.Ssubscribe().Channel(channel).Build()
	}
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		ts.tell(t, s.Kind == "subscribe" || s.Kind == "ssubscribe")
	})
	ctx = rueidis.WithOnReceiveReturnHook(ctx, func(err error, c rueidis.CommandClient) error {
		unsubscribe := c.B().Unsubscribe().Channel(channel).Build()
		if ts.sharded {
			unsubscribe = c.B().Sunsubscribe().Channel(channel).Build()
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		c.Do(ctx, unsubscribe)
		return err
	})
	ts.client.Receive(ctx, subscribe, func(rueidis.PubSubMessage) { ts.tell(t, true) })
}
