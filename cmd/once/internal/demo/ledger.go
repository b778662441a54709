package demo

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// An entry is a line of the ledger.
type entry struct {
	Event   string `json:"event"` // "begin" or "charge"
	Intent  string `json:"intent"`
	Charge  string `json:"charge,omitempty"`
	Derived string `json:"derived,omitempty"` // the derived key of the request, if it had one
}

const (
	begun   = "begin"
	charged = "charge"
)

// A ledger is the service's file of all that it did. What is written stays when the process is
// killed.
type ledger struct {
	mu        sync.Mutex // guards all
	file      *os.File
	byDerived map[string]entry // the charges
}

func openLedger(path string) (*ledger, error) {
	entries, err := readLedger(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: f, byDerived: make(map[string]entry)}
	for _, e := range entries {
		l.note(e)
	}
	return l, nil
}

func (l *ledger) note(e entry) {
	if e.Event == charged && e.Derived != "" {
		l.byDerived[e.Derived] = e
	}
}

// write appends an entry in one call of the operating system: it is there whole or not at all,
// whenever the process dies.
func (l *ledger) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	l.note(e)
	return nil
}

// find returns the charge that was made for a derived key.
func (l *ledger) find(derived string) (entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byDerived[derived]
	return e, ok
}

func readLedger(path string) ([]entry, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		var e entry
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func newCharge() string { return "ch_" + rand.Text()[:12] }

// books are what the ledger comes to.
type books struct {
	executions int
	charges    map[string][]string // of each intent
}

func balance(path string) (books, error) {
	entries, err := readLedger(path)
	b := books{charges: make(map[string][]string)}
	for _, e := range entries {
		if e.Event == begun {
			b.executions++
		} else {
			b.charges[e.Intent] = append(b.charges[e.Intent], e.Charge)
		}
	}
	return b, err
}

// totals returns how many charges there are, and how many intents were charged more than once.
func (b books) totals() (charges, twice int) {
	for _, c := range b.charges {
		charges += len(c)
		if len(c) > 1 {
			twice++
		}
	}
	return charges, twice
}
