package transcript

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A Door is a running server that the player can talk to.
type Door struct {
	// Addr is where it listens.
	Addr string

	// Running is received from when a handler runs that will wait for Finish. Transcripts without
	// such a handler need neither.
	Running <-chan struct{}
	Finish  func()

	// Unordered says that the fields of its responses may be in another order.
	Unordered bool
}

// patience is how long a door may take for anything.
const patience = 60 * time.Second

// Play has the conversation, and reports the first response that is not as written.
func (t *Transcript) Play(ctx context.Context, d Door) error {
	return t.play(ctx, d, func(b block, got []string) error {
		want := b.lines
		if d.Unordered {
			want, got = sorted(want), sorted(got)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		return nil
	})
}

// Record has the conversation, and returns the file with the responses that were given.
func (t *Transcript) Record(ctx context.Context, d Door) (string, error) {
	var responses [][]string
	err := t.play(ctx, d, func(_ block, got []string) error {
		responses = append(responses, got)
		return nil
	})
	if err != nil {
		return "", err
	}
	return t.text(responses), nil
}

func (t *Transcript) play(ctx context.Context, d Door, respond func(block, []string) error) error {
	p := player{door: d}
	defer p.close()
	for _, b := range t.blocks {
		got, err := p.step(ctx, b)
		if err == nil && b.kind == response {
			err = respond(b, got)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", t.Name, b.line, err)
		}
	}
	return nil
}

// A player has one conversation.
type player struct {
	door Door
	last net.Conn // of the last request
	held net.Conn // of the one whose handler is running
}

func (p *player) close() {
	for _, c := range []net.Conn{p.last, p.held} {
		if c != nil {
			c.Close()
		}
	}
}

// step takes a step. It returns the lines of a response.
func (p *player) step(ctx context.Context, b block) ([]string, error) {
	switch b.kind {
	case request:
		return nil, p.send(ctx, b.lines)
	case response:
		return p.receive()
	case running:
		p.last, p.held = nil, p.last
		return nil, p.await(ctx)
	case finish:
		p.door.Finish()
		p.last, p.held = p.held, nil
	case hangUp:
		err := p.held.Close()
		p.held = nil
		return nil, err
	case sleep:
		d, err := time.ParseDuration(strings.TrimPrefix(b.lines[0], "sleep "))
		if err != nil {
			return nil, err
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, nil
}

func (p *player) send(ctx context.Context, lines []string) error {
	m, err := message(lines)
	if err != nil {
		return err
	}
	if p.last, err = new(net.Dialer).DialContext(ctx, "tcp", p.door.Addr); err != nil {
		return err
	}
	p.last.SetDeadline(time.Now().Add(patience))
	_, err = p.last.Write(m)
	return err
}

func (p *player) receive() ([]string, error) {
	defer func() {
		p.last.Close()
		p.last = nil
	}()
	var wire bytes.Buffer
	if _, err := wire.ReadFrom(p.last); err != nil {
		return nil, fmt.Errorf("%w after %q", err, wire.Bytes())
	}
	return written(wire.Bytes()), nil
}

func (p *player) await(ctx context.Context) error {
	select {
	case <-p.door.Running:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the handler was not run")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
