//go:build race

package oncesql_test

// The race detector slows SQLite down, which is translated to Go, by an order of magnitude.
const raced = true
