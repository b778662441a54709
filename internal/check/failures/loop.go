package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/retry"
)

// loop is oncemsg.Wrap in a loop over a queue that leases its messages, in the manner of SQS.
var loop = adapter{name: "Wrap in a loop", open: openQueue, consume: consumeQueue}

// A queue leases messages over HTTP: POST /take, /done and /later.
type queue struct {
	url   string
	http  http.Server
	lease time.Duration

	mu       sync.Mutex // guards the rest
	messages []*queued
	receipts int
}

// A queued message is one that was not done.
type queued struct {
	Leased
	hidden time.Time // until then it is not given to anybody
}

// Leased is what is given to a consumer.
type Leased struct {
	ID       string
	Produced time.Time
	Receipt  int // of this delivery; an older one is worth nothing
}

func openQueue(_ context.Context, l *lab, _ string) (broker, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	q := &queue{url: "http://" + listener.Addr().String(), lease: l.lease / 2}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /take", q.take)
	mux.HandleFunc("POST /done", q.done)
	mux.HandleFunc("POST /later", q.later)
	q.http.Handler = mux
	go q.http.Serve(listener)
	return q, nil
}

func (q *queue) address() string { return q.url }
func (q *queue) ready(string)    {}
func (q *queue) close()          { q.http.Close() }

func (q *queue) send(_ context.Context, m message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, &queued{Leased: Leased{ID: m.id, Produced: m.produced}})
	return nil
}

// replay moves the message back, as from a dead-letter queue.
func (q *queue) replay(ctx context.Context, m message) error { return q.send(ctx, m) }

func (q *queue) idle(context.Context) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages) == 0, nil
}

func (q *queue) take(w http.ResponseWriter, _ *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		if time.Now().After(m.hidden) {
			q.receipts++
			m.Receipt, m.hidden = q.receipts, time.Now().Add(q.lease)
			json.NewEncoder(w).Encode(m.Leased)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// at returns the index of the message that was given out with this receipt, or -1.
func (q *queue) at(r *http.Request) int {
	receipt, err := strconv.Atoi(r.FormValue("receipt"))
	if err != nil {
		return -1
	}
	for i, m := range q.messages {
		if m.Receipt == receipt {
			return i
		}
	}
	return -1
}

func (q *queue) done(_ http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.at(r); i >= 0 {
		q.messages = append(q.messages[:i:i], q.messages[i+1:]...)
	}
}

func (q *queue) later(_ http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	after, err := time.ParseDuration(r.FormValue("after"))
	if i := q.at(r); i >= 0 && err == nil {
		q.messages[i].hidden = time.Now().Add(after)
	}
}

// consumeQueue is the whole of what a consumer without an adapter needs.
func consumeQueue(ctx context.Context, c *consumer) error {
	consumer, err := oncemsg.New(c.cfg)
	if err != nil {
		return err
	}
	describe := func(l Leased) oncemsg.Message { return oncemsg.Message{ID: l.ID, Time: l.Produced} }
	handle := oncemsg.Wrap(consumer, describe, func(ctx context.Context, l Leased) error {
		return c.handle(ctx, describe(l))
	})
	for ctx.Err() == nil {
		l, ok, err := takeLeased(c.Broker)
		switch {
		case err != nil:
			return err
		case !ok:
			retry.Sleep(ctx, 20*time.Millisecond)
			continue
		}
		form := url.Values{"receipt": {strconv.Itoa(l.Receipt)}}
		verb := "/done"
		if refused, ok := errors.AsType[*oncemsg.Error](handle(ctx, l)); ok {
			verb = "/later"
			form.Set("after", refused.Decision.After.String())
		}
		resp, err := http.PostForm(c.Broker+verb, form)
		if err != nil {
			return err
		}
		resp.Body.Close()
	}
	return nil
}

func takeLeased(queue string) (l Leased, ok bool, err error) {
	resp, err := http.Post(queue+"/take", "", nil)
	if err != nil {
		return l, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return l, false, nil
	}
	err = json.NewDecoder(resp.Body).Decode(&l)
	return l, err == nil, err
}
