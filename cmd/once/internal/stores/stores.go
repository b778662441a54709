// Package stores opens the store that a DSN names. It is where the binary and the stores meet:
// each store is one [Scheme], in a file of its own and a line of [Schemes].
package stores

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/oncehq/once"
)

// A Scheme is a kind of store.
type Scheme struct {
	Name string // what a DSN begins with, up to the colon
	Form string // of its DSNs
	Help string // one line

	// Open opens the store. It creates no schema in a server; Migrate does. Required.
	Open func(ctx context.Context, dsn string) (once.Store, error)

	// Directory returns where an embedded store is. Only one process at a time can open it, and
	// listens there for others who want to see the records. Defaults to none: any process can
	// open the store.
	Directory func(dsn string) string

	// Examine checks the store and says what it guarantees. It tells what it finds on the way. It
	// returns guarantees together with an error if something is wrong with a store that is there.
	// Defaults to opening the store and asking it.
	Examine func(ctx context.Context, dsn string, say Say) (once.Guarantees, error)

	// Salvage copies what is readable of a damaged store to a new directory. Defaults to nothing
	// that could be done.
	Salvage func(ctx context.Context, dsn, to string, say Say) error

	// Migrate creates or updates the schema. Defaults to nothing to be done.
	Migrate func(ctx context.Context, dsn string) error

	// Schema returns what Migrate would run in an empty database. Set together with Migrate.
	Schema func(dsn string) (string, error)
}

// A Say tells people what was found, a line each.
type Say func(format string, args ...any)

// Schemes returns all kinds of stores.
func Schemes() []Scheme {
	return slices.Concat([]Scheme{disk(), memory(), postgres(), mysql(), sqlite()}, redis(), nats(), etcd())
}

// Forms returns the forms of DSNs, for people.
func Forms() string {
	var forms []string
	for _, s := range Schemes() {
		forms = append(forms, s.Form)
	}
	return strings.Join(forms, ", ")
}

// Of returns the scheme of the DSN. The colon may be missing if nothing follows it, since it has to
// be quoted in YAML.
func Of(dsn string) (Scheme, error) {
	name, _, _ := strings.Cut(dsn, ":")
	for _, s := range Schemes() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scheme{}, errors.New("must begin with a known scheme; write " + Forms())
}

// Check reports what is wrong with the form of the DSN.
func Check(dsn string) error {
	_, err := Of(dsn)
	return err
}

// Open opens the store. Close must be called when it is no longer needed.
func Open(ctx context.Context, dsn string) (once.Store, error) {
	s, err := Of(dsn)
	if err != nil {
		return nil, fmt.Errorf("store %w", err)
	}
	store, err := s.Open(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", Redact(dsn), err)
	}
	return store, nil
}

// Examine checks the store and says what it guarantees, as [Scheme] says.
func Examine(ctx context.Context, dsn string, say Say) (once.Guarantees, error) {
	s, err := Of(dsn)
	if err != nil {
		return once.Guarantees{}, fmt.Errorf("store %w", err)
	}
	if s.Examine != nil {
		return s.Examine(ctx, dsn, say)
	}
	store, err := Open(ctx, dsn)
	if err != nil {
		return once.Guarantees{}, err
	}
	g, ok := store.(once.Guarantor)
	if !ok {
		return once.Guarantees{}, errors.Join(errors.New("the store does not say what it guarantees"), Close(store))
	}
	return g.Guarantees(), Close(store)
}

// Close closes the store, if it is one that needs to be.
func Close(s once.Store) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Directory returns where an embedded store is, or "".
func Directory(dsn string) string {
	if s, err := Of(dsn); err == nil && s.Directory != nil {
		return s.Directory(dsn)
	}
	return ""
}

// Redact returns the DSN without user, password and options, to be shown to people.
func Redact(dsn string) string {
	scheme, rest, _ := strings.Cut(dsn, ":")
	if rest == "" || Directory(dsn) != "" {
		return dsn // of an embedded store, which has no secrets
	}
	u, err := url.Parse(dsn)
	if err != nil || u.Host == "" {
		return scheme + ":…"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
