// Package river runs the jobs of River once.
package river

import (
	"context"
	"strconv"

	"github.com/riverqueue/river"

	"github.com/oncehq/once/oncemsg"
)

// ChargeArgs say whom to charge.
type ChargeArgs struct {
	Order  string `json:"order"`
	Amount int64  `json:"amount"` // in cents
}

// Kind implements [river.JobArgs].
func (ChargeArgs) Kind() string { return "charge" }

// describe takes the job's name from the order that is paid for: the job's ID is River's, and
// another one when the job is inserted again.
func describe(job *river.Job[ChargeArgs]) oncemsg.Message {
	return oncemsg.Message{
		Source:   job.Kind,
		ID:       job.Args.Order,
		Position: strconv.FormatInt(job.ID, 10),
		Payload:  job.EncodedArgs,
		Time:     job.CreatedAt,
		Attempt:  job.Attempt,
	}
}

// A Worker charges once for each order.
type Worker struct {
	river.WorkerDefaults[ChargeArgs]
	handle func(context.Context, *river.Job[ChargeArgs]) error
}

// NewWorker returns a worker that runs charge once for each order.
func NewWorker(c *oncemsg.Consumer, charge func(context.Context, *river.Job[ChargeArgs]) error) *Worker {
	return &Worker{handle: oncemsg.Wrap(c, describe, charge)}
}

// Work implements [river.Worker].
func (w *Worker) Work(ctx context.Context, job *river.Job[ChargeArgs]) error {
	err := w.handle(ctx, job)
	d, refused := oncemsg.DecisionOf(err)
	switch {
	case !refused:
		return nil
	case d.Verb == oncemsg.DeadLetter:
		return river.JobCancel(err)
	case d.Kind == oncemsg.InFlight || d.Kind == oncemsg.Unavailable:
		return river.JobSnooze(d.After) // it did not run, and counts as no attempt
	}
	return err
}
