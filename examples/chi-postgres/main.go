// Command chi-postgres is a service on chi that charges a card once for each key: a charge and the
// record of its outcome commit in one transaction of PostgreSQL, so that nothing is ever in doubt.
//
//	go run ./examples/chi-postgres --migrate --store postgres://postgres:once@127.0.0.1:5432/postgres
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/store/oncepg"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "where clients connect")
	dsn := flag.String("store", cmp.Or(os.Getenv("ONCE_STORE"), "postgres://postgres:once@127.0.0.1:5432/postgres"), "the database")
	migrate := flag.Bool("migrate", false, "make the tables first, if they are not there")
	pause := flag.Duration("pause", 0, "between a charge and its commit, so that you can kill the program there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *listen, *dsn, *migrate, *pause); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const noDatabase = `%w

There has to be a PostgreSQL, and the first time --migrate makes the tables. This starts one:

  docker run --rm -p 5432:5432 -e POSTGRES_PASSWORD=once postgres:18

On Debian, apt-get install postgresql does, and sudo -u postgres createuser --pwprompt and createdb
make a user and a database: --store postgres://USER:PASSWORD@127.0.0.1:5432/DATABASE, or ONCE_STORE`

const try = `Charges are taken on http://%[1]s. Charge a card, and then again with the same key:

  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges
  curl -i -u alice:a1 -H 'Idempotency-Key: "order-42"' -d '{"amount":1250}' http://%[1]s/charges

The second answer is a replay, and there is one charge:

  curl -u alice:a1 http://%[1]s/charges

Start with --pause 20s, send a new key, and kill this program before it answers: there is neither a
charge nor a record. After the next start the same request charges, once.
`

func run(ctx context.Context, out io.Writer, listen, dsn string, migrate bool, pause time.Duration) error {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return err
	}
	cfg.MaxConns = 32 // an operation keeps one until it is over
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	if migrate {
		if err := makeTables(ctx, pool); err != nil {
			return fmt.Errorf(noDatabase, err)
		}
	}
	store, err := oncepg.OpenTransactional(ctx, oncepg.Config{Pool: pool})
	if err != nil {
		return fmt.Errorf(noDatabase, err)
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
	if err != nil {
		return err
	}
	idempotent, err := oncehttp.New(oncehttp.Config{Guard: guard, Scope: oncehttp.ScopeBasic, Required: true})
	if err != nil {
		return err
	}
	r := chi.NewRouter()
	// Authentication comes first: a replay is an answer, and is given to whom it belongs.
	r.Use(middleware.BasicAuth("charges", map[string]string{"alice": "a1", "bob": "b1"}))
	r.With(idempotent.Wrap).Post("/charges", charge(pause))
	r.Get("/charges", list(pool))
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, try, l.Addr())
	return serve(ctx, l, r)
}

func makeTables(ctx context.Context, pool *pgxpool.Pool) error {
	if err := oncepg.Migrate(ctx, oncepg.Config{Pool: pool}); err != nil {
		return err
	}
	_, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS charges (
		number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		customer text NOT NULL,
		amount   bigint NOT NULL CHECK (amount > 0))`)
	return err
}
