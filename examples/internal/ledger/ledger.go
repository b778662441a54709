// Package ledger is what happens in the examples: a book of charges, in a file. It stands for a
// provider of payments, and like a good one it is told an id with each charge and books an id
// only once.
package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// A Charge is an entry of the book.
type Charge struct {
	Number   int    `json:"number"` // from 1, without gaps
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Amount   int64  `json:"amount"` // in cents
}

// A Ledger is a book of charges. It may be used by many goroutines at once, but by one process.
type Ledger struct {
	mu      sync.Mutex // guards the rest
	file    *os.File
	size    int64 // of the file, up to the end of the last charge
	charges []Charge
	failed  error // of a write, after which nobody knows what is in the file
}

// Open returns the ledger that is in the file, or a new one. The caller must close it.
func Open(path string) (*Ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Ledger{file: file}
	if err := l.read(); err != nil {
		file.Close()
		return nil, fmt.Errorf("ledger: %s: %w", path, err)
	}
	return l, nil
}

// read takes over what is in the file, less an entry that was cut off by a crash.
func (l *Ledger) read() error {
	text, err := io.ReadAll(l.file)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text[:bytes.LastIndexByte(text, '\n')+1]) {
		var c Charge
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("charge %d: %w", len(l.charges)+1, err)
		}
		l.charges = append(l.charges, c)
		l.size += int64(len(line))
	}
	return l.file.Truncate(l.size)
}

// Charge books a charge, unless there is one with this id: then that is returned. It is on disk
// by the time Charge returns. After an error nobody knows if it was booked.
func (l *Ledger) Charge(id, customer string, amount int64) (Charge, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return Charge{}, l.failed
	}
	if i := slices.IndexFunc(l.charges, func(c Charge) bool { return c.ID == id }); i >= 0 {
		return l.charges[i], nil
	}
	c := Charge{Number: len(l.charges) + 1, ID: id, Customer: customer, Amount: amount}
	line, err := json.Marshal(c)
	if err != nil {
		return Charge{}, err
	}
	line = append(line, '\n')
	if _, err = l.file.WriteAt(line, l.size); err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.failed = fmt.Errorf("ledger: %w; open it again to find out what it has", err)
		return Charge{}, l.failed
	}
	l.charges, l.size = append(l.charges, c), l.size+int64(len(line))
	return c, nil
}

// Charges returns what is booked, the oldest first.
func (l *Ledger) Charges() []Charge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Charge{}, l.charges...)
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }
