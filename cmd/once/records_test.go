package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestHelpAndUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{nil, 2, "Usage: once COMMAND"},
		{[]string{"help"}, 0, "Usage: once COMMAND"},
		{[]string{"--help"}, 0, "Exit status"},
		{[]string{"nonsense"}, 2, `no command "nonsense"`},
		{[]string{"version"}, 0, "once "},
		{[]string{"version", "--json"}, 0, `"version":`},
		{[]string{"version", "x"}, 2, "no arguments"},
		{[]string{"ls", "--help"}, 0, "Usage: once ls"},
		{[]string{"ls", "--state", "lost"}, 2, "in-flight, in-doubt or done"},
		{[]string{"ls", "--store", "nope:"}, 2, "must begin with a known scheme"},
		{[]string{"ls", "--store", "disk:/nonexistent/x"}, 1, "there is no store"},
		{[]string{"show"}, 2, "see once show --help"},
		{[]string{"show", "a", "b", "c"}, 2, "see once show --help"},
		{[]string{"resolve", "key:0011223344556677"}, 2, "either --done FILE or --not-done"},
		{[]string{"resolve", "--not-done", "--done", "x", "key:0011223344556677"}, 2, "either"},
		{[]string{"migrate", "--store", "memory:"}, 0, "nothing to be done"},
		{[]string{"doctor", "--store", "memory:"}, 0, "Hold is refused"},
		{[]string{"demo", "--intents", "0"}, 2, "intents must be"},
		{[]string{"demo", "--help"}, 0, "Usage: once demo"},
	} {
		r := runOnce(t, "", tt.args...)
		if r.status != tt.status || !strings.Contains(r.out+r.err, tt.want) {
			t.Errorf("once %v: got %d %q %q", tt.args, r.status, r.out, r.err)
		}
		if strings.Contains(r.out+r.err, "demo-") {
			t.Errorf("once %v shows a hidden command", tt.args)
		}
	}
}

// A mistyped flag is told in a line, which says where the help is.
func TestMistypedFlagIsAllThatIsTold(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"ls", "show", "resolve", "forget", "doctor", "migrate", "verify", "demo", "serve"} {
		r := runOnce(t, "", command, "--nonsense")
		if r.status != 2 || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "nonsense") {
			t.Errorf("once %s: got %d %q %q", command, r.status, r.out, r.err)
		}
		if !strings.Contains(r.err, "see once "+command+" --help") {
			t.Errorf("once %s does not say where its help is: %q", command, r.err)
		}
	}
}

const testScope = "POST 8:/charges header:acme"

// records makes one record that is done and two in doubt.
func records(t *testing.T) (s *service, d *daemon, dir string) {
	t.Helper()
	s, dir = newService(t), tempDir(t)
	d = serveIn(t, dir, s.url)
	if a := d.post("paid", "hello"); a.status != 201 {
		t.Fatalf("got %+v", a)
	}
	for _, key := range []string{"doubt-1", "doubt-2"} {
		if a := d.post(key, "die"); a.status != 502 {
			t.Fatalf("got %+v", a)
		}
	}
	return s, d, dir
}

func TestOperatorSeesRecords(t *testing.T) {
	t.Parallel()
	_, d, dir := records(t)
	store := storeIn(dir)
	look := func(when string) {
		t.Helper()
		all := must(t, "ls", "--store", store)
		if strings.Count(all, testScope) != 3 || strings.Count(all, "in-doubt") != 2 || !strings.Contains(all, " paid\n") {
			t.Errorf("%s: ls:\n%s", when, all)
		}
		if out := must(t, "ls", "--store", store, "--scope", testScope, "--state", "done", "--older", "0s"); strings.Count(out, "\n") != 2 {
			t.Errorf("%s: ls of done:\n%s", when, out)
		}
		if out := must(t, "ls", "--store", store, "--limit", "1"); strings.Count(out, "\n") != 2 {
			t.Errorf("%s: ls of one:\n%s", when, out)
		}
		if out := must(t, "ls", "--store", store, "--scope", "other"); out != "" {
			t.Errorf("%s: ls of another scope:\n%s", when, out)
		}
		shown := must(t, "show", "--store", store, testScope, "paid")
		for _, want := range []string{"state      done", "HTTP/1.1 201 Created", "\nhello\n"} {
			if !strings.Contains(shown, want) {
				t.Errorf("%s: show lacks %q:\n%s", when, want, shown)
			}
		}
		var j recordJSON
		if err := json.Unmarshal([]byte(must(t, "show", "--json", testScope, "paid", "--store", store)), &j); err != nil {
			t.Fatal(err)
		}
		if j.State != "done" || j.ID != "paid" || j.Scope != testScope || j.Outcome == nil || !strings.HasSuffix(j.Outcome.Text, "hello") {
			t.Errorf("%s: got %+v", when, j)
		}
		if again := must(t, "show", "--store", store, j.Key); again[:30] != shown[:30] {
			t.Errorf("%s: by digest:\n%s\nby name:\n%s", when, again, shown)
		}
		if out := must(t, "show", "--store", store, testScope, "doubt-1"); !strings.Contains(out, "Nobody knows") || !strings.Contains(out, "derived") {
			t.Errorf("%s: in doubt:\n%s", when, out)
		}
		if r := runHere(t, "", "show", "--store", store, testScope, "none"); r.status != 1 || !strings.Contains(r.err, "not recorded") {
			t.Errorf("%s: got %+v", when, r)
		}
	}
	look("while the gateway runs")
	if r := runHere(t, "", "doctor", "--store", store); r.status != 1 || !strings.Contains(r.err, "in use") {
		t.Errorf("doctor on a store in use: got %+v", r)
	}
	d.end(syscall.SIGTERM)
	if _, err := os.Stat(filepath.Join(dir, "store.sock")); err == nil {
		t.Error("the socket is left behind")
	}
	look("after its end")
	out := must(t, "doctor", "--store", store)
	for _, want := range []string{"2 in doubt, 1 done", "the machine loses power           survives"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor lacks %q:\n%s", want, out)
		}
	}
}

func TestOperatorResolvesDoubt(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		s, d, dir := records(t)
		store := storeIn(dir)
		if !running {
			d.end(syscall.SIGKILL)
		}
		response := filepath.Join(dir, "response")
		if err := os.WriteFile(response, []byte("HTTP/1.1 201 Created\nContent-Type: text/plain\nX-Charge: 7\n\nfound in the books"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := runHere(t, "n\n", "resolve", "--store", store, "--not-done", testScope, "doubt-1"); r.status != 1 || !strings.Contains(r.err, "nothing was changed") {
			t.Errorf("not confirmed: got %+v", r)
		}
		if r := runHere(t, "", "resolve", "--store", store, "--not-done", testScope, "doubt-1"); r.status != 2 {
			t.Errorf("nobody there to confirm: got %+v", r)
		}
		if r := runHere(t, "y\n", "resolve", "--store", store, "--done", response, testScope, "doubt-1"); r.status != 0 {
			t.Errorf("got %+v", r)
		}
		if out := must(t, "resolve", "--store", store, "--not-done", "--yes", "--json", testScope, "doubt-2"); !strings.Contains(out, `"done":"released"`) {
			t.Errorf("got %s", out)
		}
		for _, id := range []string{"doubt-1", "paid"} { // done
			if r := runHere(t, "", "resolve", "--yes", "--not-done", "--store", store, testScope, id); r.status != 1 || !strings.Contains(r.err, "only one in doubt") {
				t.Errorf("%s: got %+v", id, r)
			}
		}
		must(t, "forget", "--store", store, "--yes", testScope, "paid")
		if !running {
			d = serveIn(t, dir, s.url)
		}
		if a := d.post("doubt-1", "die"); a != (answer{201, true, "found in the books"}) {
			t.Errorf("resolved as done: got %+v", a)
		}
		before := s.done.Load()
		if a := d.post("doubt-2", "die"); a.status != 502 || s.done.Load() != before+1 {
			t.Errorf("resolved as not done: got %+v", a)
		}
		if a := d.post("paid", "hello"); a != (answer{201, false, "hello"}) || s.done.Load() != before+2 {
			t.Errorf("forgotten: got %+v", a)
		}
	}
}

func TestBadResponsesAreNotRecorded(t *testing.T) {
	t.Parallel()
	_, _, dir := records(t)
	for name, text := range map[string]string{
		"empty": "", "no response": "hello", "informational": "HTTP/1.1 100 Continue\r\n\r\n",
		"cut off": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
	} {
		r := runHere(t, text, "resolve", "--yes", "--store", storeIn(dir), "--done", "-", testScope, "doubt-1")
		if r.status != 1 || !strings.Contains(r.err, "no HTTP response message") {
			t.Errorf("%s: got %+v", name, r)
		}
	}
	if out := must(t, "ls", "--store", storeIn(dir), "--state", "in-doubt"); strings.Count(out, "in-doubt") != 2 {
		t.Errorf("got\n%s", out)
	}
}

func TestDamagedStoreIsFoundAndSalvaged(t *testing.T) {
	t.Parallel()
	_, d, dir := records(t)
	d.end(syscall.SIGTERM)
	damage(t, filepath.Join(dir, "store"))
	r := runHere(t, "", "doctor", "--store", storeIn(dir))
	if r.status != 1 || !strings.Contains(r.err, "damaged") {
		t.Fatalf("got %+v", r)
	}
	if out := must(t, "doctor", "--store", storeIn(dir), "--salvage", filepath.Join(dir, "new")); !strings.Contains(out, "copied to") {
		t.Errorf("got %s", out)
	}
	must(t, "doctor", "--store", "disk:"+filepath.Join(dir, "new"))
}

// damage flips a bit of the first record's id, wherever in the store it is written.
func damage(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	hit := false
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(b), "doubt-1"); i >= 0 {
			b[i] ^= 1
			hit = true
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !hit {
		t.Fatal("the id is not in the store's files as it is")
	}
}

func TestDemoKeepsItsPromise(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r := runOnce(t, "", "demo", "--intents", "80", "--seed", "7", "--json")
	if r.status != 0 || !strings.Contains(r.err, "every intent was charged exactly once") {
		t.Errorf("got %+v", r)
	}
	var figures struct {
		Kept          bool
		Without, With struct{ Intents, Requests, Executions, Charges, ChargedTwice, NeverCharged, ServiceKills int }
	}
	if err := json.Unmarshal([]byte(r.out), &figures); err != nil {
		t.Fatal(err)
	}
	// Whatever the speed of the machine, the network repeats some requests.
	if w := figures.Without; w.Intents != 80 || w.Charges <= 80 || w.ChargedTwice == 0 || w.Requests < w.Executions {
		t.Errorf("without: %+v", w)
	}
	if w := figures.With; !figures.Kept || w.Charges != 80 || w.ChargedTwice != 0 || w.NeverCharged != 0 {
		t.Errorf("with: %+v", w)
	}
	if left, _ := os.ReadDir(temp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
