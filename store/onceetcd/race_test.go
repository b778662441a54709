//go:build race

package onceetcd_test

// raceDetector: the servers, which are the test binary too, are ten times slower than they are.
const raceDetector = true
