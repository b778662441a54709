//go:build !race

package oncedisk

// slowdown is by how much tests that only take many records take fewer.
const slowdown = 1
