package oncenats

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A clock tells the time of the stream's leader. Only a description of the stream tells it; so one
// is asked for together with a record. That costs the server more than the record does: callers
// share a question that is already on its way. Any time that is told after a verb has begun is as
// good as one that it asked for itself.
type clock struct {
	wire    *wire
	request string // subject

	mu     sync.Mutex // guards the rest
	asking *call      // the last one
	last   time.Time  // that was told
	heard  time.Time  // when that was, by the clock of this process
}

// errSuperseded: the call was given up, and there may be another one.
var errSuperseded = errors.New("oncenats: asked anew")

// A question is a call for the time.
type question struct {
	call   *call
	shared bool // it was on its way before
}

// ask asks for the time.
func (k *clock) ask() question {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking != nil {
		select {
		case <-k.asking.done:
		default:
			return question{k.asking, true}
		}
	}
	k.send()
	return question{k.asking, false}
}

func (k *clock) send() { k.asking = k.wire.send(&nats.Msg{Subject: k.request}, k.note) }

// read returns what was told. It is called when the answer is there to something that was sent after
// the question was asked: a shared question that was not answered before may have been lost, and
// is asked anew.
func (k *clock) read(ctx context.Context, q question) (time.Time, error) {
	c := q.call
	if q.shared {
		select {
		case <-c.done:
		default:
			c = k.anew(c)
		}
	}
	for {
		select {
		case <-c.done:
		case <-ctx.Done():
			k.wire.end(c, nil, errSuperseded) // others who share it will ask anew
			return time.Time{}, ended(ctx)
		}
		if c.err == errSuperseded {
			c = k.anew(c)
			continue
		}
		m, err := k.wire.wait(ctx, c)
		if err != nil {
			return time.Time{}, err
		}
		return parseClock(m.Data)
	}
}

// anew returns a question that was asked later.
func (k *clock) anew(old *call) *call {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking == old {
		k.wire.end(old, nil, errSuperseded)
		k.send()
	}
	return k.asking
}

func (k *clock) note(m *nats.Msg) {
	now, err := parseClock(m.Data)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last, k.heard = now, time.Now()
}

// about returns about what time it is for the server, without asking. It serves as what people are
// told, and for nothing else.
func (k *clock) about() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last.Add(time.Since(k.heard))
}

// parseClock finds the time in a description of a stream, of which it is the last part: to read all
// of it takes longer than to write it.
func parseClock(info []byte) (time.Time, error) {
	const name = `"ts":"`
	at := bytes.LastIndex(info, []byte(name))
	if at < 0 {
		if err := apiError(info); err != nil {
			return time.Time{}, err
		}
		return time.Time{}, errors.New("oncenats: the server does not tell its time; NATS 2.11 or newer is needed")
	}
	text, _, _ := bytes.Cut(info[at+len(name):], []byte(`"`))
	return time.Parse(time.RFC3339Nano, string(text))
}
