package gateway_test

import (
	"testing"
)

func TestOnlyTheSameCallerIsReplayedTo(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	for _, tt := range []struct {
		name   string
		scope  string
		first  []string
		others [][]string
	}{
		{"header", "header:X-Account", []string{"X-Account", "acme"},
			[][]string{{"X-Account", "other"}, {"X-Account", "Acme"}, {"X-Account", "acme2"}}},
		{"basic", "basic", []string{"Authorization", "Basic YWxpY2U6cmlnaHQ="}, // alice:right
			[][]string{{"Authorization", "Basic YWxpY2U6d3Jvbmc="}, {"Authorization", "Basic Ym9iOnJpZ2h0"}}}, // alice:wrong, bob:right
	} {
		r := start(t, url, "--scope", tt.scope)
		post := func(fields []string) answer {
			return r.do(request(t, "POST", "http://"+r.addr, "x", append([]string{"key", "k"}, fields...)...))
		}
		if a := post(tt.first); a.status != 201 || a.replayed() {
			t.Errorf("%s: got %+v", tt.name, a)
		}
		if a := post(tt.first); a.status != 201 || !a.replayed() {
			t.Errorf("%s: retry: got %+v", tt.name, a)
		}
		for _, other := range tt.others {
			before := calls()
			if a := post(other); a.replayed() || calls() != before+1 {
				t.Errorf("%s: %v was given the response of %v: %+v", tt.name, other, tt.first, a)
			}
		}
	}
}

func TestCallersWithoutAScopeAreRefusedOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url, "--scope", "basic")
	a := r.do(request(t, "POST", "http://"+r.addr, "x", "key", "k"))
	if a.status != 401 || a.problem() != "scope-refused" || a.header.Get("Www-Authenticate") == "" || calls() != 0 {
		t.Errorf("operation: got %+v", a)
	}
	for _, method := range []string{"POST", "GET"} { // no key; a safe method
		if a := r.do(request(t, method, "http://"+r.addr, "")); a.status != 201 {
			t.Errorf("%s: got %+v", method, a)
		}
	}
}

func TestSharedScopeIsShared(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url, "--scope", "shared")
	for _, user := range []string{"a", "b"} {
		r.do(request(t, "POST", "http://"+r.addr, "x", "key", "k", "X-User", user))
	}
	if calls() != 1 {
		t.Errorf("the service saw %d requests", calls())
	}
}

// The same key in another place is another operation.
func TestScopeHasMethodAndPath(t *testing.T) {
	t.Parallel()
	url, calls := counting(t)
	r := start(t, url)
	for _, path := range []string{"/a", "/b", "/a/", "/A"} {
		r.post(path, "k", "x")
	}
	r.do(request(t, "PATCH", "http://"+r.addr+"/a", "x", "tenant", "acme", "key", "k"))
	if calls() != 5 {
		t.Errorf("the service saw %d requests of 5 different ones", calls())
	}
}
