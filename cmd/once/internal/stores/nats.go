package stores

import (
	"context"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncenats"
)

// nats are the kinds of store of package oncenats.
func nats() []Scheme {
	of := func(name, form, help string) Scheme {
		return Scheme{
			Name: name,
			Form: form,
			Help: help,
			Open: func(ctx context.Context, dsn string) (once.Store, error) {
				return oncenats.Open(ctx, oncenats.Config{DSN: dsn})
			},
			Examine: func(ctx context.Context, dsn string, say Say) (once.Guarantees, error) {
				g, findings, err := oncenats.Examine(ctx, oncenats.Config{DSN: dsn})
				sayAll(say, findings)
				return g, err
			},
			Migrate: func(ctx context.Context, dsn string) error {
				return oncenats.Migrate(ctx, oncenats.Config{DSN: dsn})
			},
			Schema: func(dsn string) (string, error) { return oncenats.Schema(oncenats.Config{DSN: dsn}) },
		}
	}
	return []Scheme{
		of("nats", "nats://HOST:PORT,HOST:PORT/STREAM", "in a stream of NATS JetStream; make it with once migrate"),
		of("nats+tls", "nats+tls://HOST:PORT,HOST:PORT/STREAM", "the same over TLS"),
	}
}
