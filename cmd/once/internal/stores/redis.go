package stores

import (
	"context"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/onceredis"
)

// redis are the kinds of store of package onceredis, by how the servers work together.
func redis() []Scheme {
	of := func(name, form, help string) Scheme {
		return Scheme{
			Name: name,
			Form: form,
			Help: help,
			Open: func(ctx context.Context, dsn string) (once.Store, error) {
				return onceredis.Open(ctx, onceredis.Config{DSN: dsn})
			},
			Examine: func(ctx context.Context, dsn string, say Say) (once.Guarantees, error) {
				g, findings, err := onceredis.Examine(ctx, onceredis.Config{DSN: dsn})
				sayAll(say, findings)
				return g, err
			},
		}
	}
	return []Scheme{
		of("redis", "redis://HOST:PORT/DB", "in one Redis or Valkey server"),
		of("rediss", "rediss://HOST:PORT/DB", "the same over TLS"),
		of("redis+sentinel", "redis+sentinel://HOST:PORT,HOST:PORT/MASTER", "in the master that sentinels name"),
		of("rediss+sentinel", "rediss+sentinel://HOST:PORT,HOST:PORT/MASTER", "the same over TLS"),
		of("redis+cluster", "redis+cluster://HOST:PORT,HOST:PORT", "in a Redis or Valkey cluster"),
		of("rediss+cluster", "rediss+cluster://HOST:PORT,HOST:PORT", "the same over TLS"),
	}
}

func sayAll(say Say, findings []string) {
	for _, f := range findings {
		say("%s", f)
	}
}
