package main

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var everything = flag.Bool("everything", false, "play every cell, as the program does")

func TestMain(m *testing.M) {
	consumeIfMember()
	flag.Parse()
	os.Exit(m.Run())
}

// Every adapter goes through every failure in mode Rerun, and in mode InTransaction through the one
// that it is for. AMQP, whose server is slow to start and slow to ask, goes through fewer.
func leaveOut(a adapter, m mode, f failure) bool {
	switch {
	case f.window:
		return a.name != loop.name || m.name != modeRerun
	case a.name == amqp.name:
		return f.name != "kill -9 after the effect" && !f.stops || m.name != modeRerun
	case m.name == modeRerun:
		return false
	case m.rival:
		return f.name != "handler fails" && f.name != "publishing an output fails"
	case m.name == modeInTransaction:
		return f.name != "kill -9 after the effect"
	}
	return a.name != loop.name || !strings.HasPrefix(f.name, "kill -9")
}

func TestFailures(t *testing.T) {
	tab := table{adapters: adapters, failures: failures, modes: modes, leaveOut: leaveOut}
	if *everything {
		tab.leaveOut = nil
	}
	if err := tab.fill(t.Context(), openLab(t, 3*time.Second), 16); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	tab.print(&text)
	t.Logf("%d cells were played again:\n%s", tab.again, text.String())

	// The rival shows that a loss is seen, and judged.
	for name, want := range map[string]verdict{
		"handler fails": lost, "publishing an output fails": outputLost,
	} {
		rs := tab.results[place{name, modeRival}]
		if len(rs) != 1 || rs[0].verdict != want || len(rs[0].problems) == 0 {
			t.Errorf("%s, %s: %+v, want it to be %s, and that to be a problem", modeRival, name, rs, want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		fate    fate
		outputs bool
		want    verdict
	}{
		{fate{effects: 1, outputs: 1}, true, correct},
		{fate{effects: 1}, false, correct},
		{fate{effects: 1}, true, outputLost},
		{fate{effects: 1, outputs: 2}, true, outputDoubled},
		{fate{}, true, lost},
		{fate{}, false, lost},
		{fate{effects: 2, outputs: 1}, true, duplicated},
		{fate{effects: 2, outputs: 1, deadKind: tooOld}, true, duplicated},
		{fate{effects: 1, outputs: 1, deadKind: tooOld}, true, correct},
		{fate{deadKind: tooOld}, true, unknownUndone},
		{fate{deadKind: "poisoned"}, true, unknownUndone},
		{fate{effects: 1, deadKind: "poisoned"}, true, unknownDone},
	} {
		if got := c.fate.verdict(c.fate.effects, c.outputs); got != c.want {
			t.Errorf("%+v is %s, want %s", c.fate, got, c.want)
		}
	}
}

// A consumer that cannot be started is an error, not a verdict.
func TestConsumerThatEndsByItselfIsAnError(t *testing.T) {
	l := &lab{lease: time.Second, window: time.Second}
	broken := adapter{name: "nothing", open: openQueue}
	if r, err := l.run(context.Background(), broken, modes[0], failures[0]); err == nil {
		t.Errorf("result is %+v, want an error", r)
	}
}
