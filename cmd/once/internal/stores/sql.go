package stores

import (
	"context"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncepg"
	"github.com/oncehq/once/store/oncesql"
)

func postgres() Scheme {
	return Scheme{
		Name: "postgres",
		Form: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
		Help: "in PostgreSQL; make the schema with once migrate",
		Open: func(ctx context.Context, dsn string) (once.Store, error) {
			return oncepg.Open(ctx, oncepg.Config{DSN: dsn})
		},
		Examine: func(ctx context.Context, dsn string, say Say) (once.Guarantees, error) {
			g, findings, err := oncepg.Examine(ctx, oncepg.Config{DSN: dsn})
			sayAll(say, findings)
			return g, err
		},
		Migrate: func(ctx context.Context, dsn string) error {
			return oncepg.Migrate(ctx, oncepg.Config{DSN: dsn})
		},
		Schema: func(string) (string, error) { return oncepg.Schema(""), nil },
	}
}

func mysql() Scheme {
	return sql("mysql", "mysql://USER:PASSWORD@HOST:PORT/DATABASE", "in MySQL or MariaDB; make the schema with once migrate")
}

// sqlite opens its file for as many processes as there are, so that none has to be asked.
func sqlite() Scheme {
	return sql("sqlite", "sqlite:PATH", "in a SQLite file of this machine; make the schema with once migrate")
}

// sql is a kind of store of package oncesql.
func sql(name, form, help string) Scheme {
	return Scheme{
		Name: name,
		Form: form,
		Help: help,
		Open: func(ctx context.Context, dsn string) (once.Store, error) {
			return oncesql.Open(ctx, oncesql.Config{DSN: dsn})
		},
		Examine: func(ctx context.Context, dsn string, say Say) (once.Guarantees, error) {
			g, findings, err := oncesql.Examine(ctx, oncesql.Config{DSN: dsn})
			sayAll(say, findings)
			return g, err
		},
		Migrate: func(ctx context.Context, dsn string) error {
			return oncesql.Migrate(ctx, oncesql.Config{DSN: dsn})
		},
		Schema: func(dsn string) (string, error) {
			scheme, _, _ := strings.Cut(dsn, ":")
			return oncesql.Schema(scheme)
		},
	}
}
