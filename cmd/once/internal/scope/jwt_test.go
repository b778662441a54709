package scope_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/oncehq/once/cmd/once/internal/scope"
)

// An authority signs tokens and publishes its keys.
type authority struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{r, e}
}

func b64(n *big.Int, size int) string {
	return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, size)))
}

func (a *authority) keys(rsaID string) []byte {
	b, _ := json.Marshal(map[string]any{"keys": []any{
		map[string]string{"kty": "RSA", "kid": rsaID, "use": "sig", "n": b64(a.rsa.N, 256), "e": "AQAB"},
		map[string]string{"kty": "EC", "kid": "ec", "alg": "ES256", "crv": "P-256", "x": b64(a.ec.X, 32), "y": b64(a.ec.Y, 32)},
		map[string]string{"kty": "oct", "kid": "oct", "k": "c2hhcmVkIHNlY3JldCBzaGFyZWQgc2VjcmV0"},
	}})
	return b
}

func (a *authority) publicPEM(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&a.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func token(t *testing.T, method jwt.SigningMethod, key any, kid string, change ...func(jwt.MapClaims)) *http.Request {
	t.Helper()
	claims := jwt.MapClaims{
		"tenant": "acme", "iss": "https://id.example", "aud": []string{"payments", "other"},
		"exp": time.Now().Add(time.Hour).Unix(), "jti": rand.Text(),
	}
	for _, f := range change {
		f(claims)
	}
	tok := jwt.NewWithClaims(method, claims)
	if kid != "" {
		tok.Header["kid"] = kid
	}
	text, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return request("Authorization", "Bearer "+text)
}

func set(name string, value any) func(jwt.MapClaims) {
	return func(c jwt.MapClaims) {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
}

func jwtScope(t *testing.T, jwks string) scope.Func {
	t.Helper()
	of, err := scope.New(t.Context(), scope.Config{
		Spec: scope.Spec{Kind: "jwt", Name: "tenant"},
		JWT: scope.JWT{JWKS: jwks, Issuer: "https://id.example", Audience: "payments",
			Algorithms: []string{"RS256", "ES256"}, Leeway: 5 * time.Second},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return of
}

func TestTokensAreVerified(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, a.keys("rsa"), 0o600); err != nil {
		t.Fatal(err)
	}
	of := jwtScope(t, path)
	rs, es, hour := jwt.SigningMethodRS256, jwt.SigningMethodES256, time.Hour
	for _, tt := range []struct {
		name string
		r    *http.Request
		ok   bool
	}{
		{"RSA", token(t, rs, a.rsa, "rsa"), true},
		{"EC", token(t, es, a.ec, "ec"), true},
		{"scheme in capitals", request("Authorization", strings.Replace(token(t, rs, a.rsa, "rsa").Header.Get("Authorization"), "Bearer", "BEARER", 1)), true},
		{"one audience", token(t, rs, a.rsa, "rsa", set("aud", "payments")), true},
		{"within the leeway", token(t, rs, a.rsa, "rsa", set("exp", time.Now().Add(-time.Second).Unix())), true},
		{"no token", request(), false},
		{"other scheme", request("Authorization", "Basic YTpi"), false},
		{"garbage", request("Authorization", "Bearer a.b.c"), false},
		{"signed by somebody else", token(t, rs, other.rsa, "rsa"), false},
		{"signed by somebody else, no key id", token(t, rs, other.rsa, ""), false},
		{"unknown key", token(t, rs, a.rsa, "none"), false},
		{"no signature", token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "rsa"), false},
		{"public key as secret", token(t, jwt.SigningMethodHS256, a.publicPEM(t), "rsa"), false},
		{"secret of the key set", token(t, jwt.SigningMethodHS256, []byte("shared secret shared secret"), "oct"), false},
		{"algorithm not accepted", token(t, jwt.SigningMethodRS512, a.rsa, "rsa"), false},
		{"EC key for RSA", token(t, rs, a.rsa, "ec"), false},
		{"expired", token(t, rs, a.rsa, "rsa", set("exp", time.Now().Add(-hour).Unix())), false},
		{"never expires", token(t, rs, a.rsa, "rsa", set("exp", nil)), false},
		{"not valid yet", token(t, rs, a.rsa, "rsa", set("nbf", time.Now().Add(hour).Unix())), false},
		{"other issuer", token(t, rs, a.rsa, "rsa", set("iss", "https://evil.example")), false},
		{"no issuer", token(t, rs, a.rsa, "rsa", set("iss", nil)), false},
		{"other audience", token(t, rs, a.rsa, "rsa", set("aud", "shipping")), false},
		{"no audience", token(t, rs, a.rsa, "rsa", set("aud", nil)), false},
		{"no claim", token(t, rs, a.rsa, "rsa", set("tenant", nil)), false},
		{"empty claim", token(t, rs, a.rsa, "rsa", set("tenant", "")), false},
		{"claim is no text", token(t, rs, a.rsa, "rsa", set("tenant", []string{"acme"})), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := of(tt.r)
			if tt.ok && (err != nil || got != "jwt:acme") {
				t.Errorf("got %q, %v", got, err)
			}
			if !tt.ok && status(t, err) != 401 {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	both := token(t, rs, a.rsa, "rsa")
	both.Header.Add("Authorization", both.Header.Get("Authorization"))
	if _, err := of(both); status(t, err) != 401 {
		t.Error("two tokens are accepted")
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	var mu sync.Mutex
	published, asked := a.keys("old"), 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(20 * time.Millisecond) // as far away as others are
		mu.Lock()
		defer mu.Unlock()
		asked++
		w.Write(published)
	}))
	defer srv.Close()
	of := jwtScope(t, srv.URL)
	if _, err := of(token(t, jwt.SigningMethodRS256, a.rsa, "old")); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	published = b.keys("new")
	mu.Unlock()
	if _, err := of(token(t, jwt.SigningMethodRS256, b.rsa, "new")); err != nil {
		t.Errorf("new key: %v", err)
	}
	for range 20 {
		if _, err := of(token(t, jwt.SigningMethodRS256, b.rsa, rand.Text())); status(t, err) != 401 {
			t.Error("a token with an unknown key is accepted")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if asked > 3 {
		t.Errorf("unknown keys made the set be read %d times", asked)
	}
}

func TestKeySetMustBeThere(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	for _, jwks := range []string{srv.URL, filepath.Join(t.TempDir(), "none.json")} {
		_, err := scope.New(t.Context(), scope.Config{Spec: scope.Spec{Kind: "jwt", Name: "sub"}, Log: slog.New(slog.DiscardHandler),
			JWT: scope.JWT{JWKS: jwks, Issuer: scope.Any, Audience: scope.Any, Algorithms: []string{"RS256"}}})
		if err == nil {
			t.Errorf("%s: no error", jwks)
		}
	}
}

func TestAlgorithmsWithSharedSecretsAreRefused(t *testing.T) {
	t.Parallel()
	if got, err := scope.ParseAlgorithms("RS256, EdDSA"); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, s := range []string{"HS256", "none", "RS256,HS256", "", "rs256"} {
		if got, err := scope.ParseAlgorithms(s); err == nil {
			t.Errorf("%q: got %v", s, got)
		}
	}
}
