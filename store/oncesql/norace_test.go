//go:build !race

package oncesql_test

const raced = false
