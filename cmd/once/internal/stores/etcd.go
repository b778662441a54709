package stores

import (
	"context"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/onceetcd"
)

// etcd are the kinds of store of package onceetcd.
func etcd() []Scheme {
	of := func(name, form, help string) Scheme {
		return Scheme{
			Name: name,
			Form: form,
			Help: help,
			Open: func(ctx context.Context, dsn string) (once.Store, error) {
				return onceetcd.Open(ctx, onceetcd.Config{DSN: dsn})
			},
			Examine: func(ctx context.Context, dsn string, say Say) (once.Guarantees, error) {
				g, findings, err := onceetcd.Examine(ctx, onceetcd.Config{DSN: dsn})
				sayAll(say, findings)
				return g, err
			},
		}
	}
	return []Scheme{
		of("etcd", "etcd://HOST:PORT,HOST:PORT/PREFIX", "in an etcd cluster; needs no schema"),
		of("etcds", "etcds://HOST:PORT,HOST:PORT/PREFIX", "the same over TLS"),
	}
}
