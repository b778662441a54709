// Command pipeline moves money: transfers come from Kafka, and are booked in a ledger in PostgreSQL by
// a consumer that is killed at random, again and again. In the end the ledger balances to the cent.
//
//	go run ./examples/pipeline --store postgres://postgres:once@127.0.0.1:5432/postgres
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/store/oncepg"
)

// consumeCommand is what the program is told by itself: to be the consumer that is killed.
const consumeCommand = "consume"

// settings are what the command line says.
type settings struct {
	store     string
	brokers   string
	transfers int
	kills     int
	seed      uint64
	unguarded bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == consumeCommand {
		err = consume(ctx, os.Args[2:])
	} else {
		var s settings
		flag.StringVar(&s.store, "store", os.Getenv("ONCE_STORE"), "the database, as postgres://…")
		flag.StringVar(&s.brokers, "brokers", "", "of a Kafka, host:port,…; a fake one in this process if empty")
		flag.IntVar(&s.transfers, "transfers", 500, "how many are made; one in ten is sent twice")
		flag.IntVar(&s.kills, "kills", 8, "how often the consumer is killed")
		flag.Uint64Var(&s.seed, "seed", 1, "of the random transfers")
		flag.BoolVar(&s.unguarded, "unguarded", false, "consume without Once, to see what happens")
		flag.Parse()
		err = run(ctx, os.Stdout, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const noDatabase = `%w
There has to be a PostgreSQL: docker run --rm -p 5432:5432 -e POSTGRES_PASSWORD=once postgres:18 and --store postgres://postgres:once@127.0.0.1:5432/postgres`

const try = `
Try the same without Once:

  go run ./examples/pipeline --unguarded
`

func run(ctx context.Context, out io.Writer, s settings) error {
	pool, err := openDatabase(ctx, s.store)
	if err != nil {
		return fmt.Errorf(noDatabase, err)
	}
	defer pool.Close()
	if s.brokers == "" {
		kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return err
		}
		defer kafka.Close()
		s.brokers = strings.Join(kafka.ListenAddrs(), ",")
		fmt.Fprintln(out, "Kafka: a fake one in this process; --brokers names a real one.")
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.brokers, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	name := fmt.Sprintf("transfers-%d", time.Now().UnixMilli()) // of the topic and the group: each run has its own
	in := newInput(s.transfers, s.seed)
	if err := in.produce(ctx, cl, name); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d transfers are sent, %d of them twice. The consumer is going to be killed %d times (kill -9).\n",
		len(in.transfers), in.copies, s.kills)
	p := pipeline{out: out, settings: s, pool: pool, kafka: cl, name: name}
	if err := p.drive(ctx); err != nil {
		return err
	}
	if err := in.audit(ctx, out, pool, name); err != nil {
		return err
	}
	_, err = io.WriteString(out, try)
	return err
}

func openDatabase(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	if dsn == "" {
		return nil, errors.New("pipeline: --store is missing")
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	const tables = `
		CREATE TABLE IF NOT EXISTS pipeline_entries (
			run text NOT NULL, transfer text NOT NULL, account text NOT NULL, cents bigint NOT NULL);
		CREATE TABLE IF NOT EXISTS pipeline_accounts (
			run text NOT NULL, account text NOT NULL, cents bigint NOT NULL, PRIMARY KEY (run, account))`
	_, err = pool.Exec(ctx, tables)
	if err = cmp.Or(err, oncepg.Migrate(ctx, oncepg.Config{Pool: pool})); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}
