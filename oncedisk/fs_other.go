//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package oncedisk

import (
	"fmt"
	"runtime"
)

// openDirectory fails: without flock, two processes could write to one store.
func openDirectory(string, bool) (volume, error) {
	return nil, fmt.Errorf("oncedisk: %s has no flock; use another store there", runtime.GOOS)
}
