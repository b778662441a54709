// Package config reads the gateway's settings from flags, the environment and a file.
//
// Every setting has one name. It is a flag (--upstream-timeout), an environment variable
// (ONCE_UPSTREAM_TIMEOUT) and a key of the file (upstream-timeout). A flag wins over the
// environment, and that over the file. Routes with settings of their own are in the file only.
package config

import (
	"log/slog"
	"net/url"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/scope"
)

// A Config is what the gateway runs with. [Load] makes one; its zero value is not valid.
type Config struct {
	Listen string
	Admin  string // empty: none
	TLS    struct{ Cert, Key string }

	Upstream Upstream

	Store   string // DSN
	DataDir string // for a store without a place of its own
	Drain   time.Duration

	Scope       scope.Spec
	ScopeSecret string
	JWT         scope.JWT

	Policy         // of requests that no route matches
	Methods        []string
	Routes         []Route
	HeaderTimeout  time.Duration
	ReadTimeout    time.Duration
	WriteTimeout   time.Duration
	IdleTimeout    time.Duration
	HeaderBytes    int
	MaxConnections int

	DangerouslyTrustStore bool

	LogLevel  slog.Level
	LogFormat string
}

// An Upstream is the service behind the gateway.
type Upstream struct {
	URL     *url.URL
	Host    string // sent as Host; empty: the client's
	CA      string // file of certificates; empty: the system's
	Timeout time.Duration
	Connect time.Duration
	Idle    time.Duration
	Retries int
}

// A Policy says how the requests of a route are guarded.
type Policy struct {
	Key          KeyMode
	KeyFrom      KeyFrom
	InDoubt      once.Policy
	Lease        time.Duration
	Retention    time.Duration
	Wait         time.Duration
	MaxAttempts  int // zero: the guard's default
	Keep         Keep
	Strict       bool
	RequestBody  int64
	ResponseBody int64
}

// A Route is a policy for some requests.
type Route struct {
	Match  string // pattern of net/http's ServeMux, without a host
	Policy Policy
	Origin string // file and line
}

// A KeyMode says if a request needs a key.
type KeyMode uint8

const (
	KeyOptional KeyMode = iota // without a key a request is passed on unguarded
	KeyRequired                // without a key a request is refused
	KeyOff                     // requests are passed on unguarded
)

// A KeyFrom says where a request's key is found.
type KeyFrom struct {
	Kind string // "header", "json" or "payload"
	Name string // of the field, for header and json
}

// Keep names the responses that are kept and replayed.
type Keep uint8

const (
	KeepFinal   Keep = iota // all that cannot change: below 500 but for 408, 425 and 429
	KeepAll                 // every response
	KeepSuccess             // 2xx only
)

// Policies yields the policy of requests that no route matches and those of the routes.
func (c *Config) Policies() []*Policy {
	ps := []*Policy{&c.Policy}
	for i := range c.Routes {
		ps = append(ps, &c.Routes[i].Policy)
	}
	return ps
}
