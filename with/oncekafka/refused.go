package oncekafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
)

// isRefused reports whether brokers, or the client, will never take the record: to send it again
// would hold up its partition for ever.
func isRefused(err error) bool {
	for _, known := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTopicException,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// A sender produces records with a client.
type sender struct {
	cl    *kgo.Client
	alone sync.RWMutex // held for writing by who must be the only one
}

// send produces records and waits for all of them. If some will never be taken it returns these, and an
// error that is final. Brokers refuse whole batches, which can be too large although none of their records
// is; so what is refused is sent again, each for itself while nobody else sends.
func (s *sender) send(ctx context.Context, rs []*kgo.Record) (refused []*kgo.Record, err error) {
	s.alone.RLock()
	results := s.cl.ProduceSync(ctx, rs...)
	s.alone.RUnlock()
	var again []*kgo.Record
	for _, sent := range results {
		switch {
		case isRefused(sent.Err):
			again = append(again, sent.Record)
		case sent.Err != nil:
			return nil, sent.Err
		}
	}
	for _, r := range again {
		switch lone := s.sendAlone(ctx, r); {
		case isRefused(lone):
			refused = append(refused, r)
			err = once.Final(fmt.Errorf("oncekafka: publish to topic %q: %w", r.Topic, lone))
		case lone != nil:
			return nil, lone
		}
	}
	return refused, err
}

func (s *sender) sendAlone(ctx context.Context, r *kgo.Record) error {
	s.alone.Lock()
	defer s.alone.Unlock()
	return s.cl.ProduceSync(ctx, r).FirstErr()
}

// refusals are the ids of outputs that were refused in a transaction, which had to be aborted for that.
// In the next one they are not sent, but dead-letter their message. The zero value is none.
type refusals struct {
	mu   sync.Mutex
	told map[string]bool // by id: whether it was said so, in the present transaction
}

func (r *refusals) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		r.told = make(map[string]bool)
	}
	r.told[id] = false
}

// has reports whether the output was refused.
func (r *refusals) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, refused := r.told[id]
	if refused {
		r.told[id] = true
	}
	return refused
}

// committed forgets those whose messages are dead-lettered now. If one is moved back, and the limits
// were raised, it is sent.
func (r *refusals) committed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, told := range r.told {
		if told {
			delete(r.told, id)
		}
	}
}
