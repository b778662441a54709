//go:build race

package check

// The race detector makes a run ten to twenty times slower, and callers in coroutines have no
// races: the depth is proved by builds without it.
const (
	defaultMisfortunes = 1
	naively            = 500
	alsoInGoroutines   = 300
)
