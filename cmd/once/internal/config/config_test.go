package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/config"
	"github.com/oncehq/once/cmd/once/internal/scope"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", path, got, want)
	}
}

// env is an environment of the given variables, NAME=value.
func env(vars ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, v := range vars {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func load(t *testing.T, args []string, vars ...string) *config.Config {
	t.Helper()
	cfg, err := config.Load(args, env(vars...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

var enough = []string{"--upstream", "http://127.0.0.1:9000", "--scope", "basic", "--in-doubt", "rerun"}

func TestFileIsRead(t *testing.T) {
	t.Parallel()
	cfg := load(t, []string{"--config", "testdata/good.yaml"})
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"listen", cfg.Listen, "127.0.0.1:9090"},
		{"admin", cfg.Admin, ""},
		{"upstream", cfg.Upstream.URL.String(), "http://127.0.0.1:9000/api"},
		{"scope", cfg.Scope, scope.Spec{Kind: "header", Name: "X-Tenant"}},
		{"methods", cfg.Methods, []string{"POST", "PATCH", "PUT"}},
		{"retention", cfg.Retention, 7 * 24 * time.Hour},
		{"attempts under hold", cfg.MaxAttempts, 0},
		{"connections", cfg.MaxConnections, 100},
		{"trust", cfg.DangerouslyTrustStore, true},
		{"lease", cfg.Lease, 10 * time.Second},
		{"routes", len(cfg.Routes), 2},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	charges, hooks := cfg.Routes[0], cfg.Routes[1]
	want := cfg.Policy
	want.Key, want.Retention, want.Keep, want.RequestBody = config.KeyRequired, once.Forever, config.KeepAll, 64<<10
	if charges.Match != "POST /v1/charges" || charges.Policy != want {
		t.Errorf("first route: got %+v, want %+v", charges, want)
	}
	want = cfg.Policy
	want.KeyFrom, want.InDoubt, want.MaxAttempts = config.KeyFrom{Kind: "json", Name: "/data/id"}, once.Rerun, 3
	if hooks.Match != "/webhooks/{provider}" || hooks.Policy != want {
		t.Errorf("second route: got %+v, want %+v", hooks, want)
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Parallel()
	vars := []string{"ONCE_CONFIG=testdata/good.yaml", "ONCE_LISTEN=:1", "ONCE_WAIT=3s", "ONCE_TLS_CERT=c", "ONCE_TLS_KEY=k"}
	cfg := load(t, []string{"--listen", ":2", "--dangerously-trust-store=false"}, vars...)
	if cfg.Listen != ":2" || cfg.Wait != 3*time.Second || cfg.Retention != 7*24*time.Hour || cfg.TLS.Cert != "c" {
		t.Errorf("got listen %s, wait %v, retention %v, cert %s", cfg.Listen, cfg.Wait, cfg.Retention, cfg.TLS.Cert)
	}
	if cfg.DangerouslyTrustStore {
		t.Error("the file's switch won over the flag's")
	}
	if cfg.Routes[0].Policy.Wait != 3*time.Second {
		t.Error("routes do not start from what the environment says")
	}
}

func TestEveryErrorOfAFileIsToldWithItsLine(t *testing.T) {
	t.Parallel()
	_, err := config.Load([]string{"--config", "testdata/bad.yaml", "--lease", "soon"}, env("ONCE_WAIT=1 minute"))
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("the DSN's password is shown")
	}
	golden(t, "bad.txt", err.Error()+"\n")
}

func TestWhatIsMissingIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Load(nil, env())
	if err == nil {
		t.Fatal("no error")
	}
	golden(t, "missing.txt", err.Error()+"\n")
	_, err = config.Load([]string{"--upstream", "http://a", "--in-doubt", "hold", "--scope", "jwt:sub", "--scope-secret", "env:X"}, env())
	if err == nil {
		t.Fatal("no error")
	}
	golden(t, "missing-jwt.txt", err.Error()+"\n")
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"no YAML", "listen: [a\nscope: b", "x.yaml:"},
		{"list", "- listen: a", "x.yaml:1: must be a mapping of settings to values"},
		{"routes no list", "routes: a", "x.yaml:1: routes must be a list"},
		{"route no mapping", "routes:\n  - POST /", "x.yaml:2: must be a mapping of settings to values"},
		{"alias", "lease: &a 1s\nwait: *a", "must have a plain value"},
		{"set twice", "lease: 1s\nlease: 2s", "x.yaml:2: lease is set twice"},
		{"two documents", "lease: 1s\n---\nwait: 2s", "a second document"},
		{"process setting in a route", "routes:\n  - match: POST /\n    listen: :1", `x.yaml:3: there is no setting "listen"`},
		{"attempts that are no number", "routes: 1\nmax-attempts: x", `x.yaml:2: max-attempts: "x" is no whole number`},
		{"attempts under hold", "routes:\n  - match: POST /\n    in-doubt: hold\n    max-attempts: 3", "x.yaml:4: max-attempts is for rerun"},
		{"attempts for a route under hold", "max-attempts: 3\nroutes:\n  - match: POST /\n    in-doubt: hold", "x.yaml:1: max-attempts is for rerun"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(append([]string{"--config", path}, enough...), env())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := config.Load([]string{"--config", "testdata/none.yaml"}, env()); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("absent file: got %v", err)
	}
	path := filepath.Join(t.TempDir(), "empty.yaml")
	os.WriteFile(path, []byte("# nothing\n"), 0o600)
	load(t, append([]string{"--config", path}, enough...))
}

func TestFlagErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--nonsense"}, {"extra"}, {"--listen"}} {
		if _, err := config.Load(args, env()); err == nil || !strings.Contains(err.Error(), "once serve --help") {
			t.Errorf("%v: got %v", args, err)
		}
	}
	if _, err := config.Load([]string{"--help"}, env()); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want ErrHelp", err)
	}
}

func TestHelpNamesEverySetting(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	config.Help(&b)
	golden(t, "help.txt", b.String())
	for line := range strings.Lines(b.String()) {
		if len(line) > 100 {
			t.Errorf("line is too long: %q", line)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	cfg := load(t, enough)
	if cfg.MaxAttempts != 10 || cfg.RequestBody != 1<<20 || cfg.Drain != 30*time.Second || cfg.KeyFrom.Name != "Idempotency-Key" {
		t.Errorf("got %+v", cfg)
	}
}
