package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// A fault is what the network does to a request.
type fault uint8

const (
	none fault = iota
	busy       // 503, and the service is told nothing
	late       // the service is told when the client does not wait any more
	lost       // the connection breaks before the answer
	hold       // the answer never comes, and the connection stays
)

// delay is how late a late request is.
const delay = 2 * tryTimeout

// A network stands between the clients and the service.
type network struct {
	service http.Handler
	held    chan struct{} // told when an answer is held back

	mu   sync.Mutex
	next func() fault
}

// script has the next requests suffer these faults, and those after them none.
func (n *network) script(faults ...fault) {
	n.choose(func() fault {
		if len(faults) == 0 {
			return none
		}
		f := faults[0]
		faults = faults[1:]
		return f
	})
}

// random has the given share of all requests suffer from a fault.
func (n *network) random(share float64, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 0))
	n.choose(func() fault {
		if dice.Float64() >= share {
			return none
		}
		return []fault{busy, late, lost}[dice.IntN(3)]
	})
}

func (n *network) choose(next func() fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = next
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	f := n.next()
	n.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// What is on its way arrives, even if the client has gone.
	onward := r.Clone(context.WithoutCancel(r.Context()))
	onward.Body = io.NopCloser(bytes.NewReader(body))
	switch f {
	case none:
		n.service.ServeHTTP(w, onward)
	case busy:
		http.Error(w, "come back later", http.StatusServiceUnavailable)
	case late:
		time.Sleep(delay)
		n.service.ServeHTTP(w, onward)
	case lost:
		n.service.ServeHTTP(nowhere{}, onward)
		panic(http.ErrAbortHandler) // net/http cuts the connection
	case hold:
		n.service.ServeHTTP(nowhere{}, onward)
		n.held <- struct{}{}
		<-r.Context().Done()
	}
}

// nowhere is where lost answers go.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
