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
// share a question that is already on its way. What they are told may be the time of a moment before
// their verb began: see [told].
type clock struct {
	wire    *wire
	request string        // subject
	share   time.Duration // for how long a question that is on its way is shared

	mu     sync.Mutex // guards the rest
	asking *call      // the last one
	sent   time.Time  // when that was asked
	last   time.Time  // that was told
	heard  time.Time  // when that was, by the clock of this process
}

// shareFor bounds by how much what is left of a term is told too large. Under load it lets thousands of
// verbs share a question.
const shareFor = 10 * time.Millisecond

// errSuperseded: the call was given up, and there may be another one.
var errSuperseded = errors.New("oncenats: asked anew")

// A question is a call for the time.
type question struct {
	call *call
	age  time.Duration // for how long it was on its way before the verb began; 0: it was not
}

// told is the time of a moment between that at which it was asked for and that at which the answer
// was there. So it may be earlier than the beginning of a verb that shared the question, but by no
// more than age.
type told struct {
	now time.Time
	age time.Duration
}

// unsure reports that the entry's term may have ended between the moment of which the time was told
// and the beginning of the verb.
func (t told) unsure(e *entry) bool {
	return e != nil && e.left(t.now) > 0 && e.left(t.now) <= t.age
}

// ask asks for the time.
func (k *clock) ask() question {
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := max(time.Since(k.sent), 1); k.asking != nil && age <= k.share {
		select {
		case <-k.asking.done:
		default:
			return question{k.asking, age}
		}
	}
	k.send()
	return question{k.asking, 0}
}

func (k *clock) send() {
	k.sent = time.Now()
	k.asking = k.wire.send(&nats.Msg{Subject: k.request}, k.note)
}

// read returns what was told. It is called when the answer is there to something that was sent after
// the question was asked: a shared question that was not answered before may have been lost, and
// is asked anew.
func (k *clock) read(ctx context.Context, q question) (told, error) {
	if q.age > 0 {
		select {
		case <-q.call.done:
		default:
			q = k.anew(q)
		}
	}
	for {
		select {
		case <-q.call.done:
		case <-ctx.Done():
			k.wire.end(q.call, nil, errSuperseded) // others who share it will ask anew
			return told{}, ended(ctx)
		}
		if q.call.err == errSuperseded {
			q = k.anew(q)
			continue
		}
		m, err := k.wire.wait(ctx, q.call)
		if err != nil {
			return told{}, err
		}
		now, err := parseClock(m.Data)
		return told{now, q.age}, err
	}
}

// anew returns a question that was asked later, after the verb began that asked the old one.
func (k *clock) anew(old question) question {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asking == old.call {
		k.wire.end(old.call, nil, errSuperseded)
		k.send()
	}
	return question{k.asking, 0}
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
