package demo

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A run is one time through the story, with Once or without it.
type run struct {
	name      string
	seed      uint64
	dir       string
	service   *process
	gateway   *process // nil without Once
	url       string   // where customers pay
	serviceAt string
	network   *network
	customers []customer

	paid, doubtful, settled atomic.Int64 // for the progress
	mu                      sync.Mutex   // guards the processes
}

// newRun starts what a run needs. close must be called.
func newRun(ctx context.Context, name string, withOnce bool, seed uint64, intents int) (_ *run, err error) {
	r := &run{name: name, seed: seed, network: newNetwork(), customers: make([]customer, intents)}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for i := range r.customers {
		r.customers[i].intent = i
	}
	if r.dir, err = os.MkdirTemp("", "once-demo-"); err != nil {
		return nil, err
	}
	if r.service, r.serviceAt, err = newService(r.dir); err != nil {
		return nil, err
	}
	r.url = r.serviceAt
	if err := r.service.start(ctx); err != nil {
		return nil, err
	}
	if !withOnce {
		return r, nil
	}
	if r.gateway, r.url, err = newGateway(r.dir, r.serviceAt); err != nil {
		return nil, err
	}
	return r, r.gateway.start(ctx)
}

func (r *run) close() {
	for _, p := range []*process{r.gateway, r.service} {
		if p != nil {
			p.kill()
		}
	}
	os.RemoveAll(r.dir)
}

// concurrency is how many customers are in the shop at once.
const concurrency = 32

// traffic lets all customers pay, while processes are killed.
func (r *run) traffic(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var killer sync.WaitGroup
	calm, hush := context.WithCancel(ctx)
	killer.Go(func() {
		if err := r.killAgainAndAgain(calm); err != nil {
			cancel(err)
		}
	})
	r.shop(ctx)
	hush()
	killer.Wait()
	r.network.wait()
	return context.Cause(ctx)
}

// shop lets all customers pay who have not yet.
func (r *run) shop(ctx context.Context) {
	next := make(chan *customer)
	var shop sync.WaitGroup
	for range concurrency {
		shop.Go(func() {
			for c := range next {
				c.pay(ctx, r.network, r.url, r.seed)
				r.count(c)
			}
		})
	}
	for i := range r.customers {
		if c := &r.customers[i]; c.ending != paid {
			next <- c
		}
	}
	close(next)
	shop.Wait()
}

func (r *run) count(c *customer) {
	r.settled.Add(1)
	switch c.ending {
	case paid:
		r.paid.Add(1)
	case inDoubt:
		r.doubtful.Add(1)
	}
}

// killAgainAndAgain kills the service every once in a while, in the middle of whatever it does,
// and once the gateway.
func (r *run) killAgainAndAgain(ctx context.Context) error {
	moments := rand.New(rand.NewPCG(r.seed, 9))
	for n := 1; ; n++ {
		if !sleep(ctx, time.Duration(500+moments.IntN(400))*time.Millisecond) {
			return nil
		}
		victim := r.service
		if n == 3 && r.gateway != nil {
			victim = r.gateway
		}
		down := time.Duration(50+moments.IntN(150)) * time.Millisecond
		if err := r.crash(ctx, victim, down); err != nil {
			return err
		}
	}
}

func (r *run) crash(ctx context.Context, victim *process, down time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	victim.kill()
	sleep(ctx, down)
	return victim.start(context.WithoutCancel(ctx))
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
