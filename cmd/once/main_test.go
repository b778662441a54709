package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// beOnce makes the test binary be the once binary: the tests run it as a process of its own.
const beOnce = "TEST_BE_ONCE"

func TestMain(m *testing.M) {
	if os.Getenv(beOnce) != "" {
		main()
		return
	}
	os.Setenv(beOnce, "1") // also for what the demo starts
	// The race detector waits a second at the end of each process by default.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

func onceCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

type result struct {
	status   int
	out, err string
}

// runOnce runs a command to its end.
func runOnce(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := onceCommand(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// runHere runs a command in this process, which is quicker.
func runHere(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	status := run(t.Context(), stdio{strings.NewReader(stdin), &out, &errs}, args)
	return result{status, out.String(), errs.String()}
}

// must runs a command that has to succeed, and returns its output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := runHere(t, "", args...)
	if r.status != 0 {
		t.Fatalf("once %v: status %d\n%s%s", args, r.status, r.out, r.err)
	}
	return r.out
}

// A daemon is once serve as a process.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	admin string
	log   chan string // all of it, at the end
}

// serveIn runs once serve over a disk store in dir.
func serveIn(t *testing.T, dir, upstream string, args ...string) *daemon {
	t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream,
		"--store", storeIn(dir), "--scope", "header:X-Tenant", "--in-doubt", "hold", "--lease", "3s", "--upstream-retries", "0"}, args...)
	d := &daemon{t: t, cmd: onceCommand(t, args...), log: make(chan string, 1)}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan map[string]any, 1)
	go func() {
		defer close(serving)
		var all strings.Builder
		for s := bufio.NewScanner(stderr); s.Scan(); {
			all.WriteString(s.Text() + "\n")
			var line map[string]any
			if json.Unmarshal(s.Bytes(), &line) == nil && line["msg"] == "serving" {
				serving <- line
			}
		}
		d.log <- all.String()
	}()
	line, ok := <-serving
	if !ok {
		t.Fatalf("once serve ended:\n%s", <-d.log)
	}
	d.url = "http://" + line["listen"].(string)
	d.admin = "http://" + line["admin"].(string)
	t.Cleanup(func() { d.end(syscall.SIGKILL) })
	return d
}

func storeIn(dir string) string { return "disk:" + filepath.Join(dir, "store") }

// end sends the signal and returns exit status and log.
func (d *daemon) end(s syscall.Signal) (int, string) {
	if d.cmd.ProcessState == nil {
		d.cmd.Process.Signal(s)
		log := <-d.log
		d.cmd.Wait()
		d.log <- log
	}
	log := <-d.log
	d.log <- log
	return d.cmd.ProcessState.ExitCode(), log
}

type answer struct {
	status   int
	replayed bool
	body     string
}

func (d *daemon) post(key, body string, fields ...string) answer {
	d.t.Helper()
	a, err := d.try(key, body, fields...)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *daemon) try(key, body string, fields ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", d.url+"/charges", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("X-Tenant", "acme")
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header.Get("Idempotency-Replayed") == "true", string(b)}, err
}

// tempDir is short enough for a socket in it.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "once")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A service counts what it does. A request whose body begins with "die" is done and not answered;
// one that begins with "hang" is done, told on the channel, and answered when that is closed.
type service struct {
	url   string
	done  atomic.Int64
	hangs chan chan struct{}
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{hangs: make(chan chan struct{}, 10)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.done.Add(1)
		switch {
		case bytes.HasPrefix(b, []byte("die")):
			panic(http.ErrAbortHandler)
		case bytes.HasPrefix(b, []byte("hang")):
			leave := make(chan struct{})
			s.hangs <- leave
			<-leave
		}
		w.WriteHeader(http.StatusCreated)
		w.Write(b)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}
