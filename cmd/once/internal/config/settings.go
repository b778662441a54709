package config

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/scope"
	"github.com/oncehq/once/cmd/once/internal/stores"
)

// A setting is one thing that can be set, wherever it is set.
type setting[T any] struct {
	name     string
	arg      string // what stands for the value in the help; empty: a switch
	initial  string // empty: none
	help     string
	required string // what to write, if the setting has to be set
	set      func(*T, string) error
}

// A section is a group of settings in the help.
type section struct {
	title    string
	settings []setting[Config]
}

// sections returns all settings, in the order of the help.
func sections() []section {
	return []section{
		{"Listening", listening()},
		{"Upstream", upstreaming()},
		{"Operations", operations()},
		{"Scope", scoping()},
		{"Limits", limits()},
		{"Process", process()},
	}
}

// all returns the settings of all sections.
func all() []setting[Config] {
	var list []setting[Config]
	for _, s := range sections() {
		list = append(list, s.settings...)
	}
	return list
}

func listening() []setting[Config] {
	return []setting[Config]{
		{name: "listen", arg: "ADDR", initial: "127.0.0.1:8080",
			help: "where clients connect, with HTTP/1.1 or HTTP/2 (also without TLS)",
			set:  into(parseAddress, func(c *Config) *string { return &c.Listen })},
		{name: "tls-cert", arg: "FILE", help: "certificate chain in PEM; with --tls-key, TLS is spoken to clients",
			set: text(func(c *Config) *string { return &c.TLS.Cert })},
		{name: "tls-key", arg: "FILE", help: "private key in PEM",
			set: text(func(c *Config) *string { return &c.TLS.Key })},
		{name: "admin", arg: "ADDR", initial: "127.0.0.1:8081",
			help: "where /healthz and /readyz are; off: nowhere",
			set: func(c *Config, s string) (err error) {
				c.Admin = ""
				if s != "off" {
					c.Admin, err = parseAddress(s)
				}
				return err
			}},
	}
}

func upstreaming() []setting[Config] {
	return []setting[Config]{
		{name: "upstream", arg: "URL", required: "for example http://127.0.0.1:9000",
			help: "the service to guard; nothing in a request changes where it goes",
			set: func(c *Config, s string) (err error) {
				c.Upstream.URL, err = parseUpstream(s)
				return err
			}},
		{name: "upstream-host", arg: "HOST", help: "sent to the service as Host (default: what the client sent)",
			set: text(func(c *Config) *string { return &c.Upstream.Host })},
		{name: "upstream-ca", arg: "FILE", help: "authorities in PEM to trust for https (default: the system's)",
			set: text(func(c *Config) *string { return &c.Upstream.CA })},
		{name: "upstream-timeout", arg: "DURATION", initial: "60s",
			help: "how long the service may take to answer; after that the operation is in doubt",
			set:  into(positive, func(c *Config) *time.Duration { return &c.Upstream.Timeout })},
		{name: "upstream-connect", arg: "DURATION", initial: "2s", help: "how long a connection may take to make",
			set: into(positive, func(c *Config) *time.Duration { return &c.Upstream.Connect })},
		{name: "upstream-idle", arg: "DURATION", initial: "4s",
			help: "how long an unused connection is kept; keep it shorter than the service does",
			set:  into(positive, func(c *Config) *time.Duration { return &c.Upstream.Idle })},
		{name: "upstream-retries", arg: "N", initial: "3",
			help: "how often a request is sent again that did not reach the service at all",
			set:  into(parseCount, func(c *Config) *int { return &c.Upstream.Retries })},
	}
}

func operations() []setting[Config] {
	list := []setting[Config]{
		{name: "store", arg: "DSN", help: "where records are kept: " + stores.Forms() + " (default: disk: in the data directory)",
			set: func(c *Config, s string) error {
				c.Store = s
				return stores.Check(s)
			}},
		{name: "methods", arg: "LIST", initial: "POST,PATCH", help: "methods that are guarded",
			set: func(c *Config, s string) (err error) {
				c.Methods, err = parseMethods(s)
				return err
			}},
	}
	for _, p := range policy() {
		list = append(list, setting[Config]{p.name, p.arg, p.initial, p.help, p.required,
			func(c *Config, s string) error { return p.set(&c.Policy, s) }})
	}
	return append(list, setting[Config]{name: "dangerously-trust-store",
		help: "allow --in-doubt hold over a store that may forget",
		set:  into(parseBool, func(c *Config) *bool { return &c.DangerouslyTrustStore })})
}

// policy returns the settings that a route may have of its own.
func policy() []setting[Policy] {
	return []setting[Policy]{
		{name: "in-doubt", arg: "POLICY", required: "hold or rerun",
			help: "what becomes of an operation of which nobody knows if it happened: hold (refused until somebody resolves it) or rerun (the next caller may run it again)",
			set:  into(parseInDoubt, func(p *Policy) *once.Policy { return &p.InDoubt })},
		{name: "key", arg: "MODE", initial: "optional", help: "whether a request needs a key: optional, required or off",
			set: into(parseKeyMode, func(p *Policy) *KeyMode { return &p.Key })},
		{name: "key-from", arg: "SOURCE", initial: "header:Idempotency-Key",
			help: "where the key is: header:NAME, json:FIELD (a name or a JSON Pointer) or payload (equal requests are the same operation)",
			set:  into(parseKeyFrom, func(p *Policy) *KeyFrom { return &p.KeyFrom })},
		{name: "strict", help: "accept a key only as a quoted string, as the draft standard has it",
			set: into(parseBool, func(p *Policy) *bool { return &p.Strict })},
		{name: "lease", arg: "DURATION", initial: "10s", help: "how long after its crash a gateway's operations are in doubt",
			set: into(positive, func(p *Policy) *time.Duration { return &p.Lease })},
		{name: "retention", arg: "DURATION", initial: "24h", help: "how long an outcome answers; longer than clients retry; forever is allowed",
			set: into(func(s string) (time.Duration, error) {
				d, err := ParseDuration(s)
				if err == nil && d == 0 {
					err = errors.New("must be more than zero")
				}
				return d, err
			}, func(p *Policy) *time.Duration { return &p.Retention })},
		{name: "wait", arg: "DURATION", initial: "0s", help: "how long a request waits for the outcome of one in flight; 0s: it is refused at once",
			set: into(ParseDuration, func(p *Policy) *time.Duration { return &p.Wait })},
		{name: "max-attempts", arg: "N", initial: "10", help: "under rerun, how often an operation may be run before it is held",
			set: into(parseCount, func(p *Policy) *int { return &p.MaxAttempts })},
		{name: "keep", arg: "PRESET", initial: "final",
			help: "responses that are kept: final (below 500, less 408, 425 and 429), success (2xx) or all",
			set:  into(parseKeep, func(p *Policy) *Keep { return &p.Keep })},
		{name: "request-body", arg: "SIZE", initial: "1MiB", help: "largest body of a guarded request",
			set: into(parseSize, func(p *Policy) *int64 { return &p.RequestBody })},
		{name: "response-body", arg: "SIZE", initial: "1MiB", help: "largest body of a response that is kept; of a larger one the status",
			set: into(parseSize, func(p *Policy) *int64 { return &p.ResponseBody })},
	}
}

func scoping() []setting[Config] {
	return []setting[Config]{
		{name: "scope", arg: "SCOPE", required: "for example header:X-Tenant",
			help: "whose operation a request is: header:NAME, basic, jwt:CLAIM, or shared (all callers may be given each other's responses)",
			set: func(c *Config, s string) (err error) {
				c.Scope, err = scope.Parse(s)
				return err
			}},
		{name: "scope-secret", arg: "SOURCE", help: "file:PATH or env:NAME of a secret that several gateways over one store share, for basic (default: one is made in the data directory)",
			set: func(c *Config, s string) error {
				c.ScopeSecret = s
				return scope.CheckSecretSource(s)
			}},
		{name: "jwt-jwks", arg: "SOURCE", help: "URL or file of the JSON Web Key Set that tokens are signed with",
			set: text(func(c *Config) *string { return &c.JWT.JWKS })},
		{name: "jwt-issuer", arg: "TEXT", help: "iss that tokens must have; any: not checked",
			set: text(func(c *Config) *string { return &c.JWT.Issuer })},
		{name: "jwt-audience", arg: "TEXT", help: "aud that tokens must have; any: not checked",
			set: text(func(c *Config) *string { return &c.JWT.Audience })},
		{name: "jwt-algorithms", arg: "LIST", initial: "RS256,ES256,EdDSA", help: "signatures that are accepted; none with a shared secret is",
			set: func(c *Config, s string) (err error) {
				c.JWT.Algorithms, err = scope.ParseAlgorithms(s)
				return err
			}},
		{name: "jwt-leeway", arg: "DURATION", initial: "30s", help: "tolerance for clocks at exp and nbf",
			set: into(ParseDuration, func(c *Config) *time.Duration { return &c.JWT.Leeway })},
	}
}

func limits() []setting[Config] {
	return []setting[Config]{
		{name: "header-timeout", arg: "DURATION", initial: "10s", help: "how long a request's header may take to arrive",
			set: into(positive, func(c *Config) *time.Duration { return &c.HeaderTimeout })},
		{name: "read-timeout", arg: "DURATION", initial: "60s", help: "how long a request may take to arrive, with its body",
			set: into(positive, func(c *Config) *time.Duration { return &c.ReadTimeout })},
		{name: "write-timeout", arg: "DURATION", initial: "30s", help: "how long a client may read nothing of its response",
			set: into(positive, func(c *Config) *time.Duration { return &c.WriteTimeout })},
		{name: "idle-timeout", arg: "DURATION", initial: "120s", help: "how long a client may leave its connection unused",
			set: into(positive, func(c *Config) *time.Duration { return &c.IdleTimeout })},
		{name: "header-bytes", arg: "SIZE", initial: "64KiB", help: "largest header of a request",
			set: func(c *Config, s string) error {
				n, err := parseSize(s)
				c.HeaderBytes = int(n)
				return err
			}},
		{name: "max-connections", arg: "N", initial: "10000", help: "connections of clients at once; more have to wait",
			set: into(parseCount, func(c *Config) *int { return &c.MaxConnections })},
	}
}

func process() []setting[Config] {
	return []setting[Config]{
		{name: "data-dir", arg: "DIR", help: "directory for the store and the scope secret if they have no other place (default: $STATE_DIRECTORY, else $XDG_STATE_HOME/once, else ~/.local/state/once)",
			set: text(func(c *Config) *string { return &c.DataDir })},
		{name: "drain", arg: "DURATION", initial: "30s", help: "how long requests may go on after SIGTERM; after that their operations are in doubt",
			set: into(ParseDuration, func(c *Config) *time.Duration { return &c.Drain })},
		{name: "log-level", arg: "LEVEL", initial: "info", help: "debug (every request), info, warn or error",
			set: into(parseLevel, func(c *Config) *slog.Level { return &c.LogLevel })},
		{name: "log-format", arg: "FORMAT", initial: "json", help: "json or text, on standard error",
			set: func(c *Config, s string) error {
				c.LogFormat = s
				if !slices.Contains([]string{"json", "text"}, s) {
					return errors.New("must be json or text")
				}
				return nil
			}},
	}
}

// into makes a setter of a parser and the place for its value.
func into[T, V any](parse func(string) (V, error), field func(*T) *V) func(*T, string) error {
	return func(t *T, s string) error {
		v, err := parse(s)
		if err == nil {
			*field(t) = v
		}
		return err
	}
}

func text[T any](field func(*T) *string) func(*T, string) error {
	return into(func(s string) (string, error) { return s, nil }, field)
}
