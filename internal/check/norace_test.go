//go:build !race

package check

const (
	defaultMisfortunes = 2
	naively            = 20_000 // histories that are gone through one by one
	alsoInGoroutines   = 5_000  // runs that are repeated in another way
)
