//go:build !race

package check

const (
	race               = false
	defaultSeeds       = 20_000
	defaultMisfortunes = 2
	repeated           = 1
	naively            = 20_000 // the most histories that are gone through one by one
	otherwise          = 5_000  // the most runs that are repeated in another way
)
