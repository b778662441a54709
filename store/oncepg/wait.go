package oncepg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/oncehq/once"
)

const (
	// recheck is how often a waiting caller asks although it will be told, in case a pooler
	// swallows what it should be told.
	recheck = 2 * time.Second

	// A waiting caller that will not be told asks after the first of these, then less and less
	// often.
	firstPoll = 5 * time.Millisecond
	lastPoll  = 200 * time.Millisecond
)

// Wait implements [once.Waiter]. The store is told by the server when an operation ends, over
// one connection for the process, which is made when somebody first waits. While there is none the
// callers ask from time to time.
func (s *Store) Wait(ctx context.Context, k once.Key, o once.Owner) error {
	marked, poll := false, firstPoll
	for {
		w, listening := s.waits.join(topic(k))
		over, err := s.ended(ctx, k, o, listening && !marked)
		if err != nil || over {
			s.waits.leave(w)
			return err
		}
		nap := recheck
		if marked = listening; !listening {
			nap, poll = poll, min(2*poll, lastPoll)
		}
		err = w.await(ctx, nap)
		s.waits.leave(w)
		if err != nil {
			return err
		}
	}
}

// ended reports whether the operation is no longer in flight under this owner. With mark it also
// asks to be told when that changes.
func (s *Store) ended(ctx context.Context, k once.Key, o once.Owner, mark bool) (bool, error) {
	if s.batcher.isClosed() {
		return false, once.ErrClosed
	}
	sql := s.sql.watch
	if mark {
		sql = s.sql.await
	}
	found, err := s.verb(ctx, k, sql, ownerUUID(o))
	return !found, err
}

// topic names the operation in notifications, as the server does. That two operations may have
// the same topic does no harm: somebody looks at a record in vain.
func topic(k once.Key) string {
	sum := sha256.Sum256([]byte(k.Scope + k.ID))
	return hex.EncodeToString(sum[:])
}

// channel is where the notifications of a schema are sent.
func channel(schema string) string { return "once_" + schema }
