//go:build !race

package onceetcd_test

const raceDetector = false
