package scope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// algorithms are the signatures that may be accepted: those with a public key. With a shared
// secret, or none, a token could be made from the key set that everybody can read (RFC 8725
// section 2.1).
var algorithms = [...]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// ParseAlgorithms reads a list of algorithms with commas between them.
func ParseAlgorithms(s string) ([]string, error) {
	var list []string
	for a := range strings.SplitSeq(s, ",") {
		a = strings.TrimSpace(a)
		if !slices.Contains(algorithms[:], a) {
			return nil, fmt.Errorf("has %q, which is none of %s", a, strings.Join(algorithms[:], ", "))
		}
		list = append(list, a)
	}
	return list, nil
}

// fromJWT takes the scope from a claim of a bearer token whose signature, expiry, issuer and
// audience are in order (RFC 8725). The token as such would not do: it changes between retries.
func fromJWT(ctx context.Context, cfg Config) (Func, error) {
	keys, err := keySet(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("scope: key set: %w", err)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(cfg.JWT.Algorithms),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(cfg.JWT.Leeway),
	}
	if cfg.JWT.Issuer != Any {
		options = append(options, jwt.WithIssuer(cfg.JWT.Issuer))
	}
	if cfg.JWT.Audience != Any {
		options = append(options, jwt.WithAudience(cfg.JWT.Audience))
	}
	parser := jwt.NewParser(options...)
	refuse := func(detail string) (string, error) {
		return "", &Error{Status: http.StatusUnauthorized, Challenge: `Bearer realm="once", error="invalid_token"`, Detail: detail}
	}
	return func(r *http.Request) (string, error) {
		text, ok := bearer(r)
		if !ok {
			return refuse("a bearer token is missing or malformed")
		}
		claims := jwt.MapClaims{}
		if _, err := parser.ParseWithClaims(text, claims, keys.KeyfuncCtx(r.Context())); err != nil {
			return refuse(reason(err))
		}
		value, ok := claims[cfg.Spec.Name].(string)
		if !ok || value == "" {
			return refuse("the token has no text as its claim " + cfg.Spec.Name)
		}
		return named("jwt", value), nil
	}, nil
}

func bearer(r *http.Request) (string, bool) {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(lines[0], " ")
	return token, ok && strings.EqualFold(scheme, "Bearer")
}

// reason says what is wrong with a token, in words of our own: the library's may quote it.
func reason(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{jwt.ErrTokenMalformed, "the token is malformed"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature is not valid"},
		{jwt.ErrTokenUnverifiable, "the token's signature cannot be verified"},
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenInvalidIssuer, "the token is of another issuer"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a required claim"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	return "the token is not valid"
}

// keySet reads the key set from a file, once, or from a URL, from time to time.
func keySet(ctx context.Context, cfg Config) (keyfunc.Keyfunc, error) {
	source := cfg.JWT.JWKS
	if !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "https://") {
		b, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		return keyfunc.NewJWKSetJSON(json.RawMessage(b))
	}
	mustAnswerFirst := false
	return keyfunc.NewDefaultOverrideCtx(ctx, []string{source}, keyfunc.Override{
		HTTPTimeout:               10 * time.Second,
		RefreshInterval:           15 * time.Minute,
		NoErrorReturnFirstHTTPReq: &mustAnswerFirst,
		// A token that names an unknown key makes the set be read again, since keys rotate; but
		// not as often as somebody likes. The second is for waiting and reading together: who
		// would have to wait longer is refused at once.
		RefreshUnknownKID: rate.NewLimiter(rate.Every(30*time.Second), 1),
		RateLimitWaitMax:  5 * time.Second,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				cfg.Log.ErrorContext(ctx, "key set not refreshed; the one read before is used", "error", err)
			}
		},
	})
}
