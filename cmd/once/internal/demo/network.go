package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A fate is what the network does to one request. It depends on the seed, the intent and the try
// alone, so that the same things happen with Once and without it.
type fate struct {
	lost      bool          // the request never arrives
	replyLost bool          // it arrives, the response does not
	twice     bool          // it arrives twice
	delay     time.Duration // before it arrives, also if the client has given up by then
}

func fateOf(seed uint64, intent, try int) fate {
	r := rand.New(rand.NewPCG(seed, uint64(intent)<<16|uint64(try)))
	f := fate{
		lost:      r.Float64() < 0.03,
		replyLost: r.Float64() < 0.12,
		twice:     r.Float64() < 0.10,
	}
	if r.Float64() < 0.15 {
		f.delay = time.Duration(r.IntN(600)) * time.Millisecond
	}
	return f
}

var errLost = errors.New("no answer")

// A network carries requests as badly as a network may.
type network struct {
	client   *http.Client
	under    sync.WaitGroup // requests that are on their way
	sent     atomic.Int64   // requests that arrived, each copy
	troubled atomic.Int64   // requests that something happened to
}

func newNetwork() *network {
	return &network{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}}
}

// A reply is what a client gets to see of a response.
type reply struct {
	status     int
	retryAfter string
	body       []byte
}

// send carries a request and returns the reply, or an error when ctx is done: a client waits that
// long for what is lost.
func (n *network) send(ctx context.Context, f fate, method, url, key string, body []byte) (reply, error) {
	if f.lost || f.replyLost || f.twice || f.delay > 0 {
		n.troubled.Add(1)
	}
	copies := 1
	if f.twice {
		copies = 2
	}
	replies := make(chan reply, copies)
	if !f.lost {
		for range copies {
			n.under.Go(func() {
				time.Sleep(f.delay)
				if r, err := n.deliver(method, url, key, body); err == nil && !f.replyLost {
					replies <- r
				} else if err != nil && copies == 1 && !f.replyLost {
					replies <- reply{} // the connection was refused or broke: that is noticed at once
				}
			})
		}
	}
	select {
	case r := <-replies:
		if r.status == 0 {
			return r, errLost
		}
		return r, nil
	case <-ctx.Done():
		return reply{}, errLost
	}
}

// deliver makes the request arrive. Nobody can call it back.
func (n *network) deliver(method, url, key string, body []byte) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	// The transport would send it again by itself when a connection breaks. Here clients do that.
	req.GetBody = nil
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set(tenantField, tenant)
	n.sent.Add(1)
	resp, err := n.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header.Get("Retry-After"), b}, err
}

// wait waits until nothing is on its way any more.
func (n *network) wait() {
	n.under.Wait()
	n.client.CloseIdleConnections()
}
