package servers

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// program returns the path of an installed program. It is looked for in PATH, and then in the
// folders, which may be patterns ([filepath.Glob]) of which the last match counts: the newest
// version. A program that is nowhere fails the test.
func program(t testing.TB, name string, folders ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, folder := range folders {
		found, _ := filepath.Glob(filepath.Join(folder, name))
		for _, path := range slices.Backward(found) {
			if path, err := exec.LookPath(path); err == nil {
				return path
			}
		}
	}
	t.Fatalf("servers: %s is not installed; install all servers that the tests need with: make servers", name)
	return ""
}
