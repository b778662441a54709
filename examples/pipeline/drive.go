package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A pipeline starts consumers, and kills them.
type pipeline struct {
	settings
	out   io.Writer
	pool  *pgxpool.Pool
	kafka *kgo.Client
	name  string
}

// drive runs consumers, one after the other, until all records are dealt with.
func (p *pipeline) drive(ctx context.Context) error {
	for kill := 1; kill <= p.kills; kill++ {
		c, err := p.start()
		if err != nil {
			return err
		}
		// It is killed at some moment while it works on its part.
		err = p.await(ctx, c, p.transfers*kill/(p.kills+1))
		if err == nil {
			time.Sleep(rand.N(100 * time.Millisecond))
		}
		c.kill()
		if err != nil {
			return err
		}
		n, err := p.booked(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.out, "  killed %d of %d: %d transfers are booked\n", kill, p.kills, n)
	}
	c, err := p.start()
	if err != nil {
		return err
	}
	defer c.kill()
	if err := p.await(ctx, c, p.transfers); err != nil {
		return err
	}
	if err := p.awaitCommit(ctx, c); err != nil {
		return err
	}
	return c.stop()
}

// await waits until so many transfers are booked.
func (p *pipeline) await(ctx context.Context, c *consumer, n int) error {
	return c.until(ctx, func() (bool, error) {
		booked, err := p.booked(ctx)
		return booked >= n, err
	})
}

func (p *pipeline) booked(ctx context.Context) (n int, err error) {
	err = p.pool.QueryRow(ctx, "SELECT count(*) / 2 FROM pipeline_entries WHERE run = $1", p.name).Scan(&n)
	return n, err
}

// awaitCommit waits until the group has dealt with all records, copies included.
func (p *pipeline) awaitCommit(ctx context.Context, c *consumer) error {
	admin := kadm.NewClient(p.kafka)
	return c.until(ctx, func() (bool, error) {
		ends, err := admin.ListEndOffsets(ctx, p.name)
		if err != nil {
			return false, err
		}
		committed, err := admin.FetchOffsetsForTopics(ctx, p.name, p.name)
		if err != nil {
			return false, err
		}
		done := true
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(end.Topic, end.Partition)
			done = done && (end.Offset == 0 || ok && at.At == end.Offset)
		})
		return done, nil
	})
}

// A consumer is a process of this program.
type consumer struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how; to be read when ended is closed
}

func (p *pipeline) start() (*consumer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{consumeCommand, "--store", p.store, "--brokers", p.brokers, "--name", p.name}
	if p.unguarded {
		args = append(args, "--unguarded")
	}
	c := &consumer{cmd: exec.Command(self, args...), ended: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	if _, err := c.cmd.StdinPipe(); err != nil { // which ends with this process
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.ended)
		c.err = c.cmd.Wait()
	}()
	return c, nil
}

// until waits for a condition, as long as the consumer runs.
func (c *consumer) until(ctx context.Context, ok func() (bool, error)) error {
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-c.ended:
			return fmt.Errorf("pipeline: the consumer has ended by itself: %v", c.cmd.ProcessState)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill ends the consumer as kill -9 does.
func (c *consumer) kill() {
	c.cmd.Process.Kill()
	<-c.ended
}

// stop ends the consumer in good order.
func (c *consumer) stop() error {
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	<-c.ended
	return c.err
}
