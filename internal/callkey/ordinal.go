package callkey

import (
	"runtime"
	"sync"
	"weak"

	"github.com/oncehq/once"
)

// calls counts the calls of every attempt of this process. This belongs to the attempts: with a
// count for each client, two clients within one attempt would send the same key for two calls of
// the same thing, and the second effect would be lost without anybody noticing.
var calls ordinals

type ordinals struct {
	mu sync.Mutex // guards all; never held across I/O
	m  map[weak.Pointer[once.Attempt]]map[string]int
}

// next returns how many calls of that name the attempt made before, and counts one more. The
// count is gone when nobody holds the attempt any more.
func (o *ordinals) next(a *once.Attempt, name string) int {
	p := weak.Make(a)
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := o.m[p]
	if counts == nil {
		if o.m == nil {
			o.m = make(map[weak.Pointer[once.Attempt]]map[string]int)
		}
		counts = make(map[string]int)
		o.m[p] = counts
		runtime.AddCleanup(a, o.forget, p)
	}
	n := counts[name]
	counts[name]++
	return n
}

func (o *ordinals) forget(p weak.Pointer[once.Attempt]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.m, p)
}

func (o *ordinals) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.m)
}
