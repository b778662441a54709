package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const (
	tenantField = "X-Tenant"
	tenant      = "shop-1"
	patience    = 400 * time.Millisecond // how long a client waits for a reply
	maxTries    = 25
)

// An ending is what a customer was told in the end.
type ending uint8

const (
	unsettled ending = iota // gave up
	paid
	inDoubt
)

// A customer wants one thing to be paid for, once.
type customer struct {
	intent int
	tries  int
	ending ending
	charge string // of the receipt
}

func intentName(intent int) string { return fmt.Sprintf("intent-%04d", intent) }

// pay asks until there is an answer that settles it, as every client must: when nothing comes back
// it cannot know whether the charge was made.
func (c *customer) pay(ctx context.Context, n *network, url string, seed uint64) {
	body, _ := json.Marshal(order{Intent: intentName(c.intent), Amount: 4200})
	pauses := rand.New(rand.NewPCG(seed, uint64(c.intent)))
	for last := c.tries + maxTries; c.tries < last && ctx.Err() == nil; {
		c.tries++
		r, err := c.ask(ctx, n, url, seed, body)
		if err == nil && c.settle(r) {
			return
		}
		pause := time.Duration(20+pauses.IntN(40*min(c.tries, 5))) * time.Millisecond
		if seconds, err := strconv.Atoi(r.retryAfter); err == nil {
			pause += time.Duration(seconds) * time.Second
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (c *customer) ask(ctx context.Context, n *network, url string, seed uint64, body []byte) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return n.send(ctx, fateOf(seed, c.intent, c.tries), "POST", url+"/charges", intentName(c.intent), body)
}

// settle reports whether the reply is one that needs no further try.
func (c *customer) settle(r reply) bool {
	switch {
	case r.status == 201:
		var got receipt
		if json.Unmarshal(r.body, &got) != nil {
			return false
		}
		c.ending, c.charge = paid, got.Charge
		return true
	case r.status == 500 && strings.Contains(string(r.body), "#in-doubt"):
		c.ending = inDoubt
		return true
	}
	return false
}
