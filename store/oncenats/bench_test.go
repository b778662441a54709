package oncenats_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

// The verbs beside what NATS itself does with two acknowledged messages of the same sizes.
//
//	go test -run ^$ -bench . -benchtime 3s .
func BenchmarkStore(b *testing.B) {
	for _, c := range []struct {
		name  string
		nodes int
		sync  bool
	}{{"one", 1, false}, {"one-always", 1, true}, {"three-always", 3, true}} {
		nodes := startNodes(b, c.nodes, c.sync)
		for _, callers := range []int{1, 64} {
			name := fmt.Sprintf("%s/callers=%d/", c.name, callers)
			b.Run(name+"publish-twice", func(b *testing.B) { publish(b, nodes, callers) })
			b.Run(name+"claim-complete", func(b *testing.B) { claimComplete(b, nodes, callers) })
			b.Run(name+"replay", func(b *testing.B) { replay(b, nodes, callers) })
		}
		for _, n := range nodes {
			n.kill()
		}
	}
}

var kilobyte = once.Outcome{Type: "application/http", Data: bytes.Repeat([]byte("x"), 1024)}

// share has so many callers do it b.N times in all.
func share(b *testing.B, callers int, do func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func publish(b *testing.B, nodes []*node, callers int) {
	nc, err := nats.Connect(nodesDSN(nodes))
	ok(b, err)
	defer nc.Close()
	share(b, callers, func() error {
		k := newClaim().Key
		for _, size := range []int{0, len(kilobyte.Data)} {
			m := nats.NewMsg(subject(k))
			m.Header.Set("Once-Record", strings.Repeat("x", 150))
			m.Data = kilobyte.Data[:size]
			if _, err := nc.RequestMsg(m, time.Minute); err != nil {
				return err
			}
		}
		return nil
	})
}

func claimComplete(b *testing.B, nodes []*node, callers int) {
	s := open(b, oncenats.Config{DSN: nodesDSN(nodes)})
	defer s.Close()
	share(b, callers, func() error {
		c := newClaim()
		if rec, err := s.Claim(b.Context(), c); err != nil || !rec.Won(c) {
			return fmt.Errorf("claim: %v, error %w", rec.State, err)
		}
		return s.Complete(b.Context(), c.Key, c.Owner, kilobyte, time.Hour)
	})
}

func replay(b *testing.B, nodes []*node, callers int) {
	s := open(b, oncenats.Config{DSN: nodesDSN(nodes)})
	defer s.Close()
	c := newClaim()
	wins(b, s, c)
	ok(b, s.Complete(b.Context(), c.Key, c.Owner, kilobyte, time.Hour))
	share(b, callers, func() error {
		rec, err := s.Claim(b.Context(), claimOn(c.Key))
		if err == nil && rec.State != once.Done {
			err = fmt.Errorf("not a replay: %v", rec.State)
		}
		return err
	})
}
