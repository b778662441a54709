package oncenats

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once/internal/dsn"
)

// A Target is what a DSN names. Its text leaves the secrets out.
type Target struct {
	Addrs     []string // host:port
	Stream    string
	Domain    string // of JetStream, if the stream is in another one than the server
	Encrypted bool   // TLS

	Username, Password string
	Token              string
	Credentials        string // path of a file with a user's JWT and key
	NKey               string // path of a file with a user's key

	tls    dsn.TLS
	config Config // from the parameters
}

const wantDSN = "want nats://host:port,host:port/stream, nats+tls for TLS"

// ParseDSN reads the name of the servers and of the stream:
//
//	nats://user:password@host:port,host:port/stream
//
// With nats+tls the connections are encrypted. User, password, port (4222) and stream ([DefaultStream])
// may be left out; several servers must be of one cluster. Special characters in user and password
// are percent-encoded.
//
// Parameters follow after a question mark: max_outcome, monitor (separated by commas), replicas,
// max_bytes, dial_timeout and timeout are fields of [Config]; token is one; creds and nkey name
// files that prove who the user is; domain is that of JetStream; tls_ca, tls_cert and tls_key name
// PEM files, and tls_server_name the name in the servers' certificates.
//
// Errors do not repeat the DSN, since it may hold a password.
func ParseDSN(text string) (Target, error) {
	var t Target
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return t, fmt.Errorf("oncenats: DSN has no scheme; %s", wantDSN)
	}
	if scheme != "nats" && scheme != "nats+tls" {
		return t, fmt.Errorf("oncenats: DSN has an unknown scheme; %s", wantDSN)
	}
	t.Encrypted = scheme == "nats+tls"
	rest, query, _ := strings.Cut(rest, "?")
	authority, stream, _ := strings.Cut(rest, "/")
	t.Stream = cmp.Or(stream, DefaultStream)
	err := errors.Join(t.parseAuthority(authority), t.checkStream(), t.parseQuery(query))
	return t, err
}

func (t *Target) parseAuthority(authority string) (err error) {
	var hosts string
	if t.Username, t.Password, hosts, err = dsn.CutUser(authority); err != nil {
		return fmt.Errorf("oncenats: DSN: %w", err)
	}
	if t.Addrs, err = dsn.Hosts(hosts, "4222", wantDSN); err != nil {
		return fmt.Errorf("oncenats: DSN: %w", err)
	}
	return nil
}

// The name of the stream is part of subjects and of paths on the servers.
var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (t *Target) checkStream() error {
	if !streamName.MatchString(t.Stream) {
		return errors.New("oncenats: DSN: the stream after the slash must have 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")
	}
	return nil
}

func (t *Target) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("oncenats: DSN: the parameters are not percent-encoded correctly")
	}
	var errs []error
	for name, v := range values {
		if err := t.parameter(name, v[len(v)-1]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (t *Target) parameter(name, value string) (err error) {
	number := func() (n int64) {
		if n, err = strconv.ParseInt(value, 10, 64); err != nil {
			err = fmt.Errorf("oncenats: DSN: %s is not a number", name)
		}
		return n
	}
	duration := func() (d time.Duration) {
		if d, err = time.ParseDuration(value); err != nil {
			err = fmt.Errorf("oncenats: DSN: %s is not a duration such as 500ms", name)
		}
		return d
	}
	switch name {
	case "max_outcome":
		t.config.MaxOutcome = int(number())
	case "monitor":
		t.config.Monitor = strings.Split(value, ",")
	case "replicas":
		t.config.Replicas = int(number())
	case "max_bytes":
		t.config.MaxBytes = number()
	case "dial_timeout":
		t.config.DialTimeout = duration()
	case "timeout":
		t.config.Timeout = duration()
	case "token":
		t.Token = value
	case "creds":
		t.Credentials = value
	case "nkey":
		t.NKey = value
	case "domain":
		t.Domain = value
		if !streamName.MatchString(value) {
			err = errors.New("oncenats: DSN: domain must have 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")
		}
	default:
		if t.tls.Set(name, value) {
			return nil
		}
		// Its name is not repeated: it may be the end of a password with a question mark in it.
		return errors.New("oncenats: DSN: unknown parameter; those that there are: " +
			"max_outcome, monitor, replicas, max_bytes, dial_timeout, timeout, token, creds, nkey, " +
			"domain, tls_ca, tls_cert, tls_key, tls_server_name")
	}
	return err
}

// String returns the DSN without its parameters and secrets.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString("nats")
	if t.Encrypted {
		b.WriteString("+tls")
	}
	b.WriteString("://")
	if t.Username != "" {
		b.WriteString(url.PathEscape(t.Username) + "@")
	}
	b.WriteString(strings.Join(t.Addrs, ",") + "/" + t.Stream)
	return b.String()
}

// GoString keeps %#v from printing the secrets.
func (t Target) GoString() string { return "oncenats.Target(" + strconv.Quote(t.String()) + ")" }

// subjects returns what the subjects of all records begin with.
func (t Target) subjects() string { return "once." + t.Stream + "." }

// told returns what the subjects begin with on which the server tells of changes.
func (t Target) told() string { return "once-told." + t.Stream + "." }

// api returns the subject of a request to JetStream.
func (t Target) api(request string) string {
	if t.Domain != "" {
		return "$JS." + t.Domain + ".API." + request
	}
	return "$JS.API." + request
}

// tlsConfig returns what to connect with, or nil for no TLS.
func (t Target) tlsConfig() (*tls.Config, error) {
	if !t.Encrypted {
		if t.tls != (dsn.TLS{}) {
			return nil, errors.New("oncenats: DSN has TLS parameters but no TLS; write nats+tls")
		}
		return nil, nil
	}
	c, err := t.tls.Config()
	if err != nil {
		return nil, fmt.Errorf("oncenats: DSN: %w", err)
	}
	return c, nil
}
