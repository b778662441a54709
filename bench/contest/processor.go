package contest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Processor returns what this process has taken of the processors so far, and what all that it has
// started have taken, such as servers, in steps of 10 ms.
func Processor() (own, started time.Duration, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	processes := make(map[string]process)
	for _, path := range stats {
		if text, err := os.ReadFile(path); err == nil { // else it has ended
			if processes[filepath.Base(filepath.Dir(path))], err = parseStat(text); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	self := fmt.Sprint(os.Getpid())
	for pid, p := range processes {
		if pid != self && isBelow(processes, pid, self) {
			started += p.own + p.ended
		}
	}
	return processes[self].own, started + processes[self].ended, nil
}

// isBelow reports whether the process was started by the other one, directly or not.
func isBelow(processes map[string]process, pid, other string) bool {
	for pid != other {
		p, ok := processes[pid]
		if !ok {
			return false
		}
		pid = p.parent
	}
	return true
}

// A process is what /proc tells of one (proc_pid_stat(5)): its parent, and the processor time that
// it and those of its children that have ended have taken.
type process struct {
	parent     string
	own, ended time.Duration
}

func parseStat(text []byte) (process, error) {
	_, rest, _ := bytes.Cut(text, []byte(") ")) // behind the name, which may be anything
	var state, parent string
	var skipped [9]string
	var user, system, endedUser, endedSystem int64
	args := []any{&state, &parent}
	for i := range skipped {
		args = append(args, &skipped[i])
	}
	_, err := fmt.Fscan(strings.NewReader(string(rest)), append(args, &user, &system, &endedUser, &endedSystem)...)
	const tick = 10 * time.Millisecond
	return process{parent, time.Duration(user+system) * tick, time.Duration(endedUser+endedSystem) * tick}, err
}
