package gateway_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
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

// A replay is an answer that the service did not give; so the token is verified here, also then.
func TestTokensAreVerifiedBeforeAReplay(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": base64.RawURLEncoding.EncodeToString(public)}}})
	if err != nil {
		t.Fatal(err)
	}
	bearer := func(user string, expires time.Duration) []string {
		tok := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": user, "iss": "id", "aud": "pay",
			"exp": time.Now().Add(expires).Unix(), "iat": time.Now().Unix()})
		tok.Header["kid"] = "1"
		text, err := tok.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"Authorization", "Bearer " + text}
	}
	url, calls := counting(t)
	r := start(t, url, "--scope", "jwt:sub", "--jwt-jwks", file(t, string(jwks)), "--jwt-issuer", "id", "--jwt-audience", "pay")
	post := func(fields []string) answer {
		return r.do(request(t, "POST", "http://"+r.addr, "x", append([]string{"key", "k"}, fields...)...))
	}
	forged := bearer("alice", time.Hour)
	forged[1] = forged[1][:strings.LastIndex(forged[1], ".")+1] + strings.Repeat("A", 86)
	for _, tt := range []struct {
		name     string
		fields   []string
		status   int
		replayed bool
	}{
		{"first", bearer("alice", time.Hour), 201, false},
		{"renewed token", bearer("alice", 2*time.Hour), 201, true},
		{"expired token", bearer("alice", -time.Hour), 401, false},
		{"forged token", forged, 401, false},
		{"no token", nil, 401, false},
		{"somebody else", bearer("bob", time.Hour), 201, false},
	} {
		a := post(tt.fields)
		if a.status != tt.status || a.replayed() != tt.replayed {
			t.Errorf("%s: got %+v", tt.name, a)
		}
		if tt.status == 401 && !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Bearer") {
			t.Errorf("%s: no challenge in %v", tt.name, a.header)
		}
	}
	if calls() != 2 {
		t.Errorf("the service saw %d requests", calls())
	}
}
