package main

import (
	"slices"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// A mode is how messages are handled once.
type mode struct {
	name          string
	policy        once.Policy
	mode          oncemsg.Mode
	inTransaction bool
	rival         bool // somebody else's: its cells are reported, not judged
}

const (
	modeRerun         = "Rerun"
	modeHold          = "Hold"
	modeInTransaction = "InTransaction"
	modeDropOnly      = "DropOnlyMayLose"
	modeRival         = "Watermill's Deduplicator"
)

var modes = []mode{
	{name: modeRerun, policy: once.Rerun},
	{name: modeHold, policy: once.Hold},
	{name: modeInTransaction, policy: once.Rerun, mode: oncemsg.InTransaction, inTransaction: true},
	{name: modeDropOnly, policy: once.Rerun, mode: oncemsg.DropOnlyMayLose},
	{name: modeRival, rival: true},
}

func modeNamed(name string) (mode, bool) {
	i := slices.IndexFunc(modes, func(m mode) bool { return m.name == name })
	if i < 0 {
		return mode{}, false
	}
	return modes[i], true
}

// applies reports whether the failure can befall the adapter in this mode.
func (m mode) applies(a adapter, f failure) bool {
	switch {
	case m.rival:
		return a.name == watermillRedis.name && !f.tooOld
	case m.name == modeDropOnly:
		return f.want.dropOnly != impossible
	}
	return true
}
