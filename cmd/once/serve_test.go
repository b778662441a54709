package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestRepliesSurviveARestart(t *testing.T) {
	t.Parallel()
	s, dir := newService(t), tempDir(t)
	d := serveIn(t, dir, s.url)
	first := d.post("k", "hello")
	if first != (answer{201, false, "hello"}) {
		t.Fatalf("got %+v", first)
	}
	if status, log := d.end(syscall.SIGTERM); status != 0 || !strings.Contains(log, `"msg":"stopped"`) {
		t.Errorf("status %d\n%s", status, log)
	}
	d = serveIn(t, dir, s.url)
	if again := d.post("k", "hello"); again != (answer{201, true, "hello"}) || s.done.Load() != 1 {
		t.Errorf("got %+v after %d executions", again, s.done.Load())
	}
}

// What the gateway has acknowledged is remembered when it is killed, at any moment; and what was
// under way is not run again.
func TestKilledGatewayForgetsNothing(t *testing.T) {
	t.Parallel()
	s, dir := newService(t), tempDir(t)
	d := serveIn(t, dir, s.url)
	lost := make(chan error, 1)
	go func() { _, err := d.try("under-way", "hang"); lost <- err }()
	var leave chan struct{}
	select {
	case leave = <-s.hangs:
	case err := <-lost:
		t.Fatalf("the request ended before it reached the service: %v", err)
	}
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range 1000 {
				key := fmt.Sprintf("c%d-%d", c, i)
				a, err := d.try(key, key)
				if err != nil {
					return // it is dead
				}
				mu.Lock()
				acknowledged[key] = a.status == 201
				n := len(acknowledged)
				mu.Unlock()
				if n == 100 {
					d.cmd.Process.Kill()
				}
			}
		})
	}
	clients.Wait()
	d.end(syscall.SIGKILL)
	if err := <-lost; err == nil {
		t.Error("a dead gateway has answered")
	}
	close(leave)
	executions := s.done.Load()
	d = serveIn(t, dir, s.url)
	for key, ok := range acknowledged {
		if a := d.post(key, key); !ok || a != (answer{201, true, key}) {
			t.Errorf("%s: got %+v", key, a)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a := d.post("under-way", "hang")
		if a.status == 500 && strings.Contains(a.body, "#in-doubt") {
			break
		}
		if a.status != 409 || time.Now().After(deadline) {
			t.Fatalf("under way: got %+v", a)
		}
	}
	if n := s.done.Load(); n != executions {
		t.Errorf("%d executions after the restart", n-executions)
	}
}

func TestSignalLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	s := newService(t)
	d := serveIn(t, tempDir(t), s.url)
	got := make(chan answer, 1)
	go func() { a, _ := d.try("k", "hang"); got <- a }()
	leave := <-s.hangs
	d.cmd.Process.Signal(syscall.SIGTERM)
	for d.ready() != http.StatusServiceUnavailable {
		time.Sleep(5 * time.Millisecond)
	}
	close(leave)
	if a := <-got; a != (answer{201, false, "hang"}) {
		t.Errorf("got %+v", a)
	}
	if status, log := d.end(syscall.SIGTERM); status != 0 {
		t.Errorf("status %d\n%s", status, log)
	}
}

func TestSecondGatewayOverTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	s, dir := newService(t), tempDir(t)
	serveIn(t, dir, s.url)
	r := runOnce(t, "", "serve", "--listen", "127.0.0.1:0", "--admin", "off", "--upstream", s.url, "--store", storeIn(dir),
		"--scope", "shared", "--in-doubt", "hold")
	if r.status != 1 || !strings.Contains(r.err, "in use") {
		t.Errorf("got %+v", r)
	}
}

func TestBasicScopeSurvivesARestart(t *testing.T) {
	t.Parallel()
	s, dir := newService(t), tempDir(t)
	auth := []string{"Authorization", "Basic YWxpY2U6cmlnaHQ="}
	d := serveIn(t, dir, s.url, "--scope", "basic")
	d.post("k", "x", auth...)
	d.end(syscall.SIGTERM)
	info, err := os.Stat(filepath.Join(dir, "store.secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret: got %v, %v", info, err)
	}
	d = serveIn(t, dir, s.url, "--scope", "basic")
	if a := d.post("k", "x", auth...); !a.replayed || s.done.Load() != 1 {
		t.Errorf("got %+v", a)
	}
}

func TestDangerIsSaidLoudly(t *testing.T) {
	t.Parallel()
	s := newService(t)
	d := serveIn(t, tempDir(t), s.url, "--store", "memory:", "--scope", "shared", "--dangerously-trust-store")
	_, log := d.end(syscall.SIGTERM)
	for _, want := range []string{"ALL CALLERS SHARE ONE SCOPE", "THE STORE IS TRUSTED"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestSettingsAreCheckedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "3 settings are wrong"},
		{[]string{"--upstream", "http://a", "--scope", "shared", "--in-doubt", "hold", "--store", "memory:"}, "--dangerously-trust-store"},
		{[]string{"--upstream", "http://a", "--scope", "shared", "--in-doubt", "hold", "--nonsense"}, "-nonsense"},
	} {
		r := runOnce(t, "", append([]string{"serve", "--data-dir", dir}, tt.args...)...)
		if r.status != 2 || !strings.Contains(r.err, tt.want) || r.out != "" {
			t.Errorf("%v: got %+v", tt.args, r)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("made %v", left)
	}
	if r := runOnce(t, "", "serve", "--help"); r.status != 0 || !strings.Contains(r.out, "--in-doubt") {
		t.Errorf("help: got %+v", r)
	}
}

// ready returns the status of /readyz.
func (d *daemon) ready() int {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", d.admin+"/readyz", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestHealthOfTheProcess(t *testing.T) {
	t.Parallel()
	s := newService(t)
	d := serveIn(t, tempDir(t), s.url)
	for _, path := range []string{"/healthz", "/readyz"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", d.admin+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(b) != `{"status":"ok"}`+"\n" {
			t.Errorf("%s: got %d %q", path, resp.StatusCode, b)
		}
	}
}
