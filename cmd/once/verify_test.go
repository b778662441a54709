package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newCharges is a service that charges for each request, and counts.
func newCharges(t *testing.T) string {
	t.Helper()
	var n atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		id := n.Add(1)
		time.Sleep(20 * time.Millisecond) // so that there is something to overlap; nothing depends on it
		w.Header().Set("Location", fmt.Sprint("/charges/", id))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id": %d}`, id)
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, n.Load()) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func verifyArgs(target string, more ...string) []string {
	return append([]string{"verify", "--target", target, "--path", "/charges", "--body", `{"order": "{{uuid}}"}`, "--pause", "1ms",
		"--concurrency", "4", "--effects-path", "/count"}, more...)
}

func TestGatewayPassesVerify(t *testing.T) {
	t.Parallel()
	d := serveIn(t, tempDir(t), newCharges(t), "--key", "required", "--strict")
	r := runOnce(t, "", verifyArgs(d.url, "--strict", "--json", "--header", "X-Tenant: a", "--other-header", "X-Tenant: b")...)
	var report struct {
		Checks []struct{ Name, Result, Why string }
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.status != 0 {
		t.Fatalf("%v; status %d\n%s%s", err, r.status, r.err, r.out)
	}
	results := map[string]string{}
	for _, c := range report.Checks {
		results[c.Name] = c.Result
	}
	for _, name := range []string{"first-request", "key-malformed", "key-bare", "retry-once", "replay-headers", "replay-body",
		"mismatch-after", "concurrent-once", "concurrent-later", "parallel-keys", "hang-up", "isolation-credential", "problem-json"} {
		if results[name] != "pass" {
			t.Errorf("%s: %s\n%s", name, results[name], r.out)
		}
	}
}

func TestUnguardedServiceFailsVerify(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.xml")
	r := runOnce(t, "", verifyArgs(newCharges(t), "--junit", file, "--header", "X-Api-Key: hidden")...)
	if r.status != 1 || !strings.Contains(r.out, "fail  retry-once ") || !strings.Contains(r.err, "checks failed") {
		t.Errorf("got %+v", r)
	}
	if !strings.Contains(r.err, "about ") || !strings.Contains(r.out, "curl -i -X POST") {
		t.Errorf("neither plan nor requests: %+v", r)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Failure *struct{} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(b, &suite); err != nil {
		t.Fatal(err)
	}
	failures := 0
	for _, c := range suite.Cases {
		if c.Failure != nil {
			failures++
		}
	}
	if failures == 0 || failures != suite.Failures || failures != strings.Count("\n"+r.out, "\nfail ") {
		t.Errorf("%d failures, said %d:\n%s", failures, suite.Failures, b)
	}
	if strings.Contains(r.out+string(b), "hidden") {
		t.Error("the report tells the credentials")
	}
}

func TestVerifyRefusesBeforeItSendsAnything(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"elsewhere":   {[]string{"--target", "https://192.0.2.1"}, "--yes"},
		"no target":   {nil, "target is missing"},
		"no such":     {[]string{"--target", "http://localhost", "--nonsense"}, "-nonsense"},
		"placeholder": {[]string{"--target", "http://localhost", "--body", "{{name}}"}, "{{name}}"},
		"no field":    {[]string{"--target", "http://localhost", "--header", "nonsense"}, "Name: value"},
		"nobody":      {[]string{"--target", "http://127.0.0.1:1"}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runOnce(t, "", append([]string{"verify"}, tt.args...)...)
			if r.status != 2 || !strings.Contains(r.err, tt.want) || r.out != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}
