package scope_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncehq/once/cmd/once/internal/scope"
)

func TestParseIsInvertedByString(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]scope.Spec{
		"header:x-tenant":          {Kind: "header", Name: "X-Tenant"},
		"jwt:https://a.b/tenant_1": {Kind: "jwt", Name: "https://a.b/tenant_1"},
		"basic":                    {Kind: "basic"},
		"shared":                   {Kind: "shared"},
	} {
		got, err := scope.Parse(in)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
		if again, err := scope.Parse(got.String()); err != nil || again != got {
			t.Errorf("%s: got %+v, %v after String", in, again, err)
		}
	}
	for _, in := range []string{"", "header", "header:", "header:a b", "jwt", "jwt:", "basic:x", "shared:x", "ip", "bearer"} {
		if got, err := scope.Parse(in); err == nil {
			t.Errorf("%q: got %+v, want an error", in, got)
		}
	}
}

// status returns the status with which err refuses a request.
func status(t *testing.T, err error) int {
	t.Helper()
	se, ok := errors.AsType[*scope.Error](err)
	if !ok {
		t.Fatalf("got %v, want a *scope.Error", err)
	}
	return se.StatusCode()
}

func request(fields ...string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func TestHeaderScope(t *testing.T) {
	t.Parallel()
	of, err := scope.New(t.Context(), scope.Config{Spec: scope.Spec{Kind: "header", Name: "X-Tenant"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := of(request("X-Tenant", "acme")); err != nil || got != "header:acme" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, r := range []*http.Request{request(), request("X-Tenant", ""), request("X-Tenant", "a", "X-Tenant", "b")} {
		if _, err := of(r); status(t, err) != 400 {
			t.Errorf("%v: got %v", r.Header, err)
		}
	}
}

func TestNoTwoNamesShareAScope(t *testing.T) {
	t.Parallel()
	of, err := scope.New(t.Context(), scope.Config{Spec: scope.Spec{Kind: "header", Name: "X"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	names := []string{"a", "A", " a", "a ", "a\tb", "ä", strings.Repeat("x", 71), strings.Repeat("x", 72), strings.Repeat("x", 8000), "sha256:x"}
	for range 3 { // digests of digests
		for _, n := range names {
			s, err := of(request("X", n))
			if err != nil {
				t.Fatal(err)
			}
			if len(s) > scope.MaxLen {
				t.Errorf("%q has a scope of %d bytes", n, len(s))
			}
			if other, ok := seen[s]; ok && other != n {
				t.Errorf("%q and %q share a scope", n, other)
			}
			seen[s] = n
			names = append(names, strings.TrimPrefix(s, "header:"))
		}
	}
}

func TestBasicScopeTakesThePasswordToo(t *testing.T) {
	t.Parallel()
	make := func(secret string) scope.Func {
		of, err := scope.New(t.Context(), scope.Config{Spec: scope.Spec{Kind: "basic"}, Secret: []byte(secret)})
		if err != nil {
			t.Fatal(err)
		}
		return of
	}
	of := make("0123456789abcdef")
	get := func(of scope.Func, user, password string) string {
		t.Helper()
		r := request()
		r.SetBasicAuth(user, password)
		s, err := of(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(s) > scope.MaxLen {
			t.Errorf("scope has %d bytes", len(s))
		}
		return s
	}
	first := get(of, "alice", "right")
	if !strings.HasPrefix(first, "basic:alice~") || strings.Contains(first, "right") {
		t.Errorf("got %q", first)
	}
	if get(of, "alice", "right") != first {
		t.Error("a retry is in another scope")
	}
	others := map[string]bool{first: true}
	for _, s := range []string{
		get(of, "alice", "wrong"), get(of, "bob", "right"), get(of, "alicer", "ight"), get(of, "alice", ""),
		get(of, strings.Repeat("a", 300), "right"), get(of, "ä", "right"), get(make("another secret..."), "alice", "right"),
	} {
		if others[s] {
			t.Errorf("%q is shared", s)
		}
		others[s] = true
	}
}

func TestBasicScopeRefuses(t *testing.T) {
	t.Parallel()
	of, err := scope.New(t.Context(), scope.Config{Spec: scope.Spec{Kind: "basic"}, Secret: []byte("0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*http.Request{
		request(), request("Authorization", "Bearer x"), request("Authorization", "Basic !"), request("Authorization", "Basic Og=="), // ":"
		request("Authorization", "Basic YTpi", "Authorization", "Basic YTpj"),
	} {
		if _, err := of(r); status(t, err) != 401 {
			t.Errorf("%v: got %v", r.Header, err)
		}
	}
	if _, err := scope.New(t.Context(), scope.Config{Spec: scope.Spec{Kind: "basic"}, Secret: []byte("short")}); err == nil {
		t.Error("a short secret is accepted")
	}
}

func TestKeptSecretStaysTheSame(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	first, err := scope.KeptSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := scope.KeptSecret(path)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("got another one, %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want mode 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := scope.KeptSecret(path); err == nil {
		t.Error("a short secret is accepted")
	}
}

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SCOPE_SECRET", "0123456789abcdef")
	t.Setenv("SHORT", "x")
	for _, source := range []string{"file:" + path, "env:SCOPE_SECRET"} {
		if err := scope.CheckSecretSource(source); err != nil {
			t.Error(err)
		}
		if got, err := scope.ReadSecret(source); err != nil || string(got) != "0123456789abcdef" {
			t.Errorf("%s: got %q, %v", source, got, err)
		}
	}
	for _, source := range []string{"file:" + path + "x", "env:SHORT", "env:NONE"} {
		if got, err := scope.ReadSecret(source); err == nil {
			t.Errorf("%s: got %q", source, got)
		}
	}
	for _, source := range []string{"", "file:", "hunter2", "env:"} {
		if scope.CheckSecretSource(source) == nil {
			t.Errorf("%q is accepted", source)
		}
	}
}
