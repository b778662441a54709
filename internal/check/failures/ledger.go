package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Points at which a consumer tells the ledger where it is, and waits for an answer.
const (
	atReady    = "ready"    // receives; the detail is where, if the broker has to know
	atBefore   = "before"   // begins with a message
	atEffect   = "effect"   // takes effect; the detail is the id for the provider
	atAfter    = "after"    // has taken effect
	atEnd      = "end"      // the handler returns
	atOutput   = "output"   // publishes; the detail is the id
	atRecorded = "recorded" // the message is done, and the broker not told yet
	atDead     = "dead"     // set aside; the detail says why
	atLost     = "lost"     // a lease was lost
)

// A call is what a consumer tells the ledger.
type call struct {
	member         int // of the cell's consumers, from 1
	point, message string
	detail         string
}

// A ledger is what is outside of the consumers: it takes the effects and the outputs of one
// cell, and survives whatever becomes of who sent them.
type ledger struct {
	url  string
	http http.Server
	hook func(context.Context, call) error // before a call is written down; an error refuses it

	mu      sync.Mutex // guards the rest
	effects map[string][]string
	outputs map[string][]string
	dead    map[string][]string
	running map[int]int // handlers of each member
	lost    int
}

func openLedger(hook func(context.Context, call) error) (*ledger, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &ledger{
		url: "http://" + listener.Addr().String(), hook: hook, running: map[int]int{},
		effects: map[string][]string{}, outputs: map[string][]string{}, dead: map[string][]string{},
	}
	l.http.Handler = l
	go l.http.Serve(listener)
	return l, nil
}

func (l *ledger) close() { l.http.Close() }

// errGone refuses a call of a consumer that was killed.
var errGone = errors.New("the consumer is gone")

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	member, err := strconv.Atoi(r.FormValue("member"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := call{member, r.FormValue("point"), r.FormValue("message"), r.FormValue("detail")}
	if c.point == atBefore {
		l.count(c.member, 1)
	}
	if err := l.hook(r.Context(), c); err != nil {
		if c.point == atBefore && !errors.Is(err, errGone) {
			l.count(c.member, -1)
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	l.write(c)
}

func (l *ledger) write(c call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c.point {
	case atEffect:
		l.effects[c.message] = append(l.effects[c.message], c.detail)
	case atOutput:
		l.outputs[c.message] = append(l.outputs[c.message], c.detail)
	case atDead:
		l.dead[c.message] = append(l.dead[c.message], c.detail)
	case atLost:
		l.lost++
	case atEnd:
		l.running[c.member]--
	}
}

func (l *ledger) count(member, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[member] += n
}

// forget is for a member that was killed: its handlers will never return.
func (l *ledger) forget(member int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[member] = 0
}

// busy reports whether a handler runs.
func (l *ledger) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.running {
		if n > 0 {
			return true
		}
	}
	return false
}

// stalled reports whether a lease was lost.
func (l *ledger) stalled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost > 0
}

// A fate is what became of one message.
type fate struct {
	effects  int
	ids      int    // distinct ones among those that the effects were given
	outputs  int    // distinct ones
	deadKind string // why it was set aside, or ""
}

func (l *ledger) fate(message string) fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	dead := slices.Compact(slices.Sorted(slices.Values(l.dead[message])))
	return fate{
		effects: len(l.effects[message]), ids: distinct(l.effects[message]),
		outputs: distinct(l.outputs[message]), deadKind: strings.Join(dead, "+"),
	}
}

func distinct(all []string) int {
	set := map[string]bool{}
	for _, s := range all {
		set[s] = true
	}
	return len(set)
}
