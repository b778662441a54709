// Package demo tells the story of why Once is there: a payments service, customers who retry since
// they must, a network that loses, delays and repeats, and processes that are killed with kill -9 in
// the middle of charges. Nothing in it is made up: the processes are real, the killed ones are
// killed by the operating system, and the figures are counted in the service's ledger.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Options are what can be chosen.
type Options struct {
	Seed    uint64
	Intents int  // how many customers want to pay for something
	Open    bool // keep gateway and service up at the end

	JSON io.Writer // gets the figures too; nil: nobody
}

// ErrBroken says that Once did not keep its promise.
var ErrBroken = errors.New("with Once something was charged twice, lost, or told wrong; this must not happen, please report the seed")

// Run tells the story on out. It returns [ErrBroken] if it ends badly.
func Run(ctx context.Context, out io.Writer, o Options) error {
	fmt.Fprintf(out, `%d customers pay for one thing each at a small payments service. They retry until they know
that they have paid. The network loses, delays and repeats, and the service is killed with kill -9
and started again. First without Once, then with it; seed %d.

`, o.Intents, o.Seed)
	var without, with outcome
	bare, err := newRun(ctx, "without Once", false, o.Seed, o.Intents)
	if err != nil {
		return err
	}
	err = bare.play(ctx, out, &without)
	bare.close()
	if err != nil {
		return err
	}
	guarded, err := newRun(ctx, "with Once", true, o.Seed, o.Intents)
	if err != nil {
		return err
	}
	defer guarded.close()
	if err := guarded.play(ctx, out, &with); err != nil {
		return err
	}
	report(out, without, with)
	if o.JSON != nil {
		err := json.NewEncoder(o.JSON).Encode(map[string]any{"seed": o.Seed, "without": without, "with": with, "kept": with.kept()})
		if err != nil {
			return err
		}
	}
	if !with.kept() {
		return ErrBroken
	}
	if o.Open {
		return guarded.stayOpen(ctx, out)
	}
	return nil
}

// An outcome is what a run came to.
type outcome struct {
	Intents      int           `json:"intents"`
	Requests     int           `json:"requests"` // that arrived
	Troubled     int           `json:"troubled"` // lost, delayed or repeated
	ServiceKills int           `json:"serviceKills"`
	GatewayKills int           `json:"gatewayKills"`
	Executions   int           `json:"executions"`
	Charges      int           `json:"charges"`
	Twice        int           `json:"chargedTwice"` // intents that were charged more than once
	Never        int           `json:"neverCharged"`
	Wrong        int           `json:"toldWrong"` // customers who were told of a charge that is not theirs
	Unsettled    int           `json:"gaveUp"`
	Resolved     resolved      `json:"inDoubt"`
	Took         time.Duration `json:"nanoseconds"`
}

// kept reports whether every intent was charged exactly once, and every customer told so.
func (o outcome) kept() bool {
	return o.Twice == 0 && o.Never == 0 && o.Wrong == 0 && o.Unsettled == 0 && o.Charges == o.Intents
}

// play runs the traffic, has the doubts resolved, and does the accounts.
func (r *run) play(ctx context.Context, out io.Writer, o *outcome) error {
	start := time.Now()
	stop := r.showProgress(out)
	err := r.traffic(ctx)
	stop()
	if err != nil {
		return err
	}
	if r.gateway != nil {
		if o.Resolved, err = r.resolve(ctx); err != nil {
			return err
		}
		// What starts now is killed by nobody.
		o.GatewayKills = r.gateway.kills
	}
	o.ServiceKills = r.service.kills
	o.Took = time.Since(start)
	return r.account(o)
}

// account compares what customers were told with the ledger.
func (r *run) account(o *outcome) error {
	b, err := balance(ledgerPath(r.dir))
	if err != nil {
		return err
	}
	o.Intents, o.Requests, o.Troubled = len(r.customers), int(r.network.sent.Load()), int(r.network.troubled.Load())
	o.Executions = b.executions
	o.Charges, o.Twice = b.totals()
	for i := range r.customers {
		c := &r.customers[i]
		made := b.charges[intentName(c.intent)]
		if len(made) == 0 {
			o.Never++
		}
		switch {
		case c.ending != paid:
			o.Unsettled++
		case len(made) == 0 || !slices.Contains(made, c.charge):
			o.Wrong++
		}
	}
	return nil
}

// showProgress shows how far the run is, until the function that it returns is called.
func (r *run) showProgress(out io.Writer) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	live, pause := isTerminal(out), 2*time.Second
	if live {
		pause = 100 * time.Millisecond
	}
	line := func() {
		text := fmt.Sprintf("%-12s  %4d of %d customers settled, %d have paid", r.name, r.settled.Load(), len(r.customers), r.paid.Load())
		if n := r.doubtful.Load(); n > 0 {
			text += fmt.Sprintf(", %d in doubt", n)
		}
		if live {
			fmt.Fprintf(out, "\r\x1b[K%s", text)
		} else {
			fmt.Fprintln(out, text)
		}
	}
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(pause):
				line()
			case <-end:
				line()
				if live {
					fmt.Fprintln(out)
				}
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
