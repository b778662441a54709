//go:build race

package check

// The race detector makes a run ten to twenty times slower, and callers in coroutines have no
// races: it is builds without it that go deep.
const (
	race               = true
	defaultSeeds       = 2_000
	defaultMisfortunes = 1
	repeated           = 0 // misfortunes in the searches that are made in several ways
	naively            = 500
	otherwise          = 500
)
