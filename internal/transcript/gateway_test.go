package transcript_test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/oncehq/once/internal/transcript"
)

// build builds the gateway, once for all tests. It is a program of another module, and run as
// its users do.
var build = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(buildDir, "once")
	out, err := exec.Command("go", "build", "-o", path, "github.com/oncehq/once/cmd/once").CombinedOutput()
	if err != nil {
		return "", &buildError{string(out), err}
	}
	return path, nil
})

type buildError struct {
	out string
	err error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + e.out }

// gateway runs a gateway in front of the service.
func gateway(t *testing.T, settings map[string]string, s *service) transcript.Door {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--upstream", "http://" + serve(t, s), "--listen", "127.0.0.1:0", "--admin", "off", "--store", "memory:",
		"--data-dir", t.TempDir(), "--scope", "header:X-User"}
	if settings["in-doubt"] == "" {
		args = append(args, "--in-doubt", "hold")
	}
	if settings["in-doubt"] != "rerun" {
		args = append(args, "--dangerously-trust-store")
	}
	for name, value := range settings {
		switch name {
		case "required":
			args = append(args, "--key", "required")
		case "strict":
			args = append(args, "--strict")
		default:
			args = append(args, "--"+name, value)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, args...) // killed before the test's cleanup
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving, ended := make(chan string, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Listen string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				serving <- line.Listen
			}
		}
		cmd.Wait()
		ended <- all.String()
	}()
	var door transcript.Door
	select {
	case addr := <-serving:
		door = s.door(t, addr)
	case log := <-ended:
		t.Fatalf("the gateway has ended:\n%s", log)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	door.Unordered = true
	return door
}
