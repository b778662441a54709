package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// envMember makes this program a consumer; it has the orders.
const envMember = "ONCE_FAILURES_MEMBER"

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// Orders say what a consumer is to do.
type orders struct {
	Adapter, Mode  string
	Cell           string // names of topics, groups and the subscriber
	Member         int
	Ledger         string
	Broker         string // where it is
	Postgres       string
	Lease          time.Duration
	BrokerLease    time.Duration
	Window, TooOld time.Duration
}

// A member is a consumer in a process of its own: this program, run again.
type member struct {
	number int
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
	err    error // of the process; read it when exited is closed

	mu     sync.Mutex
	wanted bool // that it ends
}

func startMember(o orders) (*member, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &member{number: o.Member, cmd: exec.Command(self), exited: make(chan struct{})}
	m.cmd.Env = append(os.Environ(), envMember+"="+string(text))
	m.cmd.Stdout, m.cmd.Stderr = os.Stderr, os.Stderr
	// It ends when this pipe does, and so with its parent.
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(m.exited)
		m.err = m.cmd.Wait()
	}()
	return m, nil
}

// kill is kill -9.
func (m *member) kill() {
	m.want()
	m.cmd.Process.Kill()
	<-m.exited
}

// want reports whether it was wanted before that the member ends.
func (m *member) want() (before bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, m.wanted = m.wanted, true
	return before
}

func (m *member) pause() error  { return m.cmd.Process.Signal(syscall.SIGSTOP) }
func (m *member) resume() error { return m.cmd.Process.Signal(syscall.SIGCONT) }

// stop asks the member to end, and returns when it has; it is no error if it had to before.
func (m *member) stop() error {
	if m.want() {
		return nil
	}
	m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.exited:
	case <-time.After(patience):
		m.kill()
		return fmt.Errorf("consumer %d has not ended after %v", m.number, patience)
	}
	if m.err != nil && !m.terminated() {
		return fmt.Errorf("consumer %d: %w", m.number, m.err)
	}
	return nil
}

// terminated reports whether the member had not begun to listen to signals when it was asked to end.
func (m *member) terminated() bool {
	status, ok := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

var errEndedEarly = errors.New("a consumer has ended by itself")

// ended returns an error if the member has ended and nobody has told it to.
func (m *member) ended() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.exited:
		if !m.wanted {
			return fmt.Errorf("%w: %v", errEndedEarly, m.err)
		}
	default:
	}
	return nil
}
