package main

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// A stage is what a test is to the servers: they are started by the tests' own package, which
// asks for no more than the methods that are here.
type stage struct {
	testing.TB
	cleanups []func()
}

func (s *stage) Helper()          {}
func (s *stage) Failed() bool     { return false }
func (s *stage) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *stage) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (s *stage) Fatalf(format string, args ...any) { s.Fatal(fmt.Sprintf(format, args...)) }

func (s *stage) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	s.close()
	os.Exit(2)
}

func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "once-failures-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *stage) close() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	s.cleanups = nil
}
