package oncenats

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	headerExpected = "Nats-Expected-Last-Subject-Sequence"
	headerTTL      = "Nats-TTL"
)

// A flight is what travels together about one record: perhaps a message that is to be its next
// state, and perhaps the question how it stands.
type flight struct {
	write *call // nil: none
	read  *call // nil: none
	time  question
}

// A sight is how a record stood, and what time it was for the server.
type sight struct {
	entry *entry // nil: there is none
	now   time.Time
}

// write sends the record's next state, which the server takes only if the last one is still that
// with the expected sequence number; 0: if there is none.
func (s *Store) write(subject string, e *entry, expected uint64) *call {
	h := nats.Header{
		headerRecord:   {e.encode()},
		headerExpected: {strconv.FormatUint(expected, 10)},
	}
	if ttl := e.ttl(); ttl > 0 {
		h[headerTTL] = []string{strconv.FormatInt(ttl, 10) + "s"}
	}
	return s.wire.send(&nats.Msg{Subject: subject, Header: h, Data: e.payload}, nil)
}

// look asks how the record stands, after the time was asked for: see [clock.read].
func (s *Store) look(subject string, t question) flight {
	body := `{"last_by_subj":"` + subject + `"}`
	return flight{time: t, read: s.wire.send(&nats.Msg{Subject: s.getRequest, Data: []byte(body)}, nil)}
}

// written returns the sequence number of the message, or false if the server did not take it since
// another one came first.
func (s *Store) written(ctx context.Context, c *call) (seq uint64, ok bool, err error) {
	m, err := s.wire.wait(ctx, c)
	if err != nil {
		return 0, false, err
	}
	var ack struct {
		Error  *jsError `json:"error"`
		Stream string   `json:"stream"`
		Seq    uint64   `json:"seq"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return 0, false, fmt.Errorf("oncenats: answer is not understood: %w", err)
	case ack.Error != nil && ack.Error.rejected():
		return 0, false, nil
	case ack.Error != nil:
		return 0, false, ack.Error
	case ack.Stream != s.target.Stream || ack.Seq == 0:
		return 0, false, fmt.Errorf("oncenats: stream %q took the record, not %q; let no other have its subjects",
			ack.Stream, s.target.Stream)
	}
	return ack.Seq, true, nil
}

// seen returns how the record stood, at a time that is not before the verb began.
func (s *Store) seen(ctx context.Context, f flight) (sight, error) {
	m, err := s.wire.wait(ctx, f.read)
	if err != nil {
		return sight{}, err
	}
	e, err := readEntry(m.Data)
	if err != nil {
		return sight{}, err
	}
	t, err := s.clock.read(ctx, f.time)
	if err == nil && t.unsure(e) {
		t, err = s.clock.read(ctx, s.clock.anew(f.time))
	}
	return sight{e, t.now}, err
}

// confirmed returns how the record stood, given how it was seen. The time may have been told after the
// record was read, and the owner may have renewed the lease, or completed the operation, between the
// two: then it was never in doubt. If nothing has changed when the record is read again, it was.
func (s *Store) confirmed(ctx context.Context, subject string, v sight) (sight, error) {
	for v.doubtful() {
		again, err := s.seen(ctx, s.look(subject, s.clock.ask()))
		if err != nil || again.entry != nil && again.entry.seq == v.entry.seq {
			return v, err
		}
		v = again
	}
	return v, nil
}

// doubtful reports that the record is in doubt because a lease ran out, not because one was ended.
func (v sight) doubtful() bool {
	return v.entry != nil && v.entry.kind == claimed && v.entry.term > 0 && v.entry.left(v.now) <= 0
}

// readEntry reads the answer to the question how a record stands, which is nil if there is none.
func readEntry(answer []byte) (*entry, error) {
	var a struct {
		Error   *jsError `json:"error"`
		Message *struct {
			Seq    uint64    `json:"seq"`
			Header []byte    `json:"hdrs"`
			Data   []byte    `json:"data"`
			Time   time.Time `json:"time"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(answer, &a); {
	case err != nil:
		return nil, fmt.Errorf("oncenats: answer is not understood: %w", err)
	case a.Error != nil && a.Error.Number == codeNoMessage:
		return nil, nil
	case a.Error != nil:
		return nil, a.Error
	case a.Message == nil:
		return nil, errDamaged
	}
	m := a.Message
	_, rest, _ := strings.Cut(string(m.Header), "\r\n"+headerRecord+": ")
	text, _, _ := strings.Cut(rest, "\r\n")
	return decode(text, m.Seq, m.Time, m.Data)
}

// pause waits a little before the next try, longer each time: the server refuses a message while
// another one of its subject is on its way, of which nothing can be seen yet.
func pause(ctx context.Context, tries int) error {
	if tries == 0 {
		return nil
	}
	longest := time.Millisecond << min(tries-1, 6)
	select {
	case <-time.After(longest/2 + rand.N(longest/2)):
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}
