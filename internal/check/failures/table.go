package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// A table is what is to be played, and what came of it.
type table struct {
	adapters []adapter
	failures []failure
	modes    []mode
	leaveOut func(adapter, mode, failure) bool // nil: nothing

	mu      sync.Mutex // guards the rest
	results map[place][]result
	again   int
}

// A place in the table.
type place struct{ failure, mode string }

// fill plays all cells, so many at a time. It returns what must not be.
func (t *table) fill(ctx context.Context, l *lab, parallel int) error {
	var (
		playing sync.WaitGroup
		errs    []error
		slots   = make(chan struct{}, parallel)
	)
	t.results = map[place][]result{}
	for _, f := range t.failures {
		for _, m := range t.modes {
			for _, a := range t.adapters {
				if !m.applies(a, f) || t.leaveOut != nil && t.leaveOut(a, m, f) {
					continue
				}
				slots <- struct{}{}
				playing.Go(func() {
					defer func() { <-slots }()
					r, err := l.run(ctx, a, m, f)
					t.mu.Lock()
					defer t.mu.Unlock()
					if err != nil {
						errs = append(errs, err)
						return
					}
					if !m.rival {
						errs = append(errs, r.problems...)
					}
					t.again += r.again
					at := place{f.name, m.name}
					t.results[at] = append(t.results[at], r)
				})
			}
		}
	}
	playing.Wait()
	return errors.Join(errs...)
}

// print writes the table in Markdown.
func (t *table) print(w io.Writer) {
	var head, line strings.Builder
	head.WriteString("| failure |")
	line.WriteString("| --- |")
	for _, m := range t.modes {
		head.WriteString(" " + m.name + " |")
		line.WriteString(" --- |")
		if m.name == modeRerun {
			head.WriteString(" Rerun, derived id |")
			line.WriteString(" --- |")
		}
	}
	fmt.Fprintln(w, head.String())
	fmt.Fprintln(w, line.String())
	for _, f := range t.failures {
		row := "| " + f.name + " |"
		for _, m := range t.modes {
			rs := t.results[place{f.name, m.name}]
			row += " " + t.summary(rs, func(r result) verdict { return r.verdict }) + " |"
			if m.name == modeRerun {
				row += " " + t.summary(rs, func(r result) verdict { return r.derived }) + " |"
			}
		}
		fmt.Fprintln(w, row)
	}
}

// summary is the verdict of most adapters, and then those of the others.
func (t *table) summary(rs []result, verdictOf func(result) verdict) string {
	counts := map[verdict]int{}
	for _, r := range rs {
		counts[verdictOf(r)]++
	}
	most := impossible
	for _, r := range rs {
		if v := verdictOf(r); counts[v] > counts[most] {
			most = v
		}
	}
	text := string(most)
	for _, a := range t.adapters {
		for _, r := range rs {
			if v := verdictOf(r); r.adapter == a.name && v != most {
				text += fmt.Sprintf("; %s: %s", a.name, v)
			}
		}
	}
	return text
}
