package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/store/oncepg"
	"github.com/oncehq/once/with/oncekafka"
)

// consume is the consumer. Nothing in it knows that it will be killed.
func consume(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(consumeCommand, flag.ContinueOnError)
	dsn := flags.String("store", "", "the database")
	brokers := flags.String("brokers", "", "of the Kafka")
	name := flags.String("name", "", "of the topic and the group")
	unguarded := flags.Bool("unguarded", false, "without Once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	go func() { // the program that has started it has ended, and cannot stop it any more
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	pool, err := pgxpool.New(ctx, *dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(*brokers, ",")...), kgo.ConsumerGroup(*name), kgo.ConsumeTopics(*name),
		kgo.InstanceID("consumer"), // the group does not wait for the dead one: this is the same
	}
	if *unguarded {
		return consumeUnguarded(ctx, pool, *name, options)
	}

	store, err := oncepg.OpenTransactional(ctx, oncepg.Config{Pool: pool})
	if err != nil {
		return err
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Rerun})
	if err != nil {
		return err
	}
	consumer, err := oncemsg.New(oncemsg.Config{
		Guard: guard, Subscriber: *name, Mode: oncemsg.InTransaction,
		Window: 8 * 24 * time.Hour, // a topic keeps records for a week, unless it is told otherwise
	})
	if err != nil {
		return err
	}
	return oncekafka.Run(ctx, oncekafka.Config{
		Options: options, Consumer: consumer, DeadLetterTopic: *name + ".dead",
		Handler: func(ctx context.Context, m oncemsg.Message) error {
			tx, _ := oncepg.Tx(ctx) // in which the record is made, too
			return book(ctx, tx, *name, m.Payload)
		},
	})
}

// book books a transfer: two entries, and the balances of two accounts. It is anything but idempotent.
func book(ctx context.Context, tx pgx.Tx, run string, payload []byte) error {
	var t transfer
	if err := json.Unmarshal(payload, &t); err != nil {
		return once.Final(err)
	}
	sides := []struct {
		account string
		cents   int64
	}{{t.From, -t.Cents}, {t.To, t.Cents}}
	if t.From > t.To { // everybody locks accounts in the same order
		sides[0], sides[1] = sides[1], sides[0]
	}
	for _, s := range sides {
		_, err := tx.Exec(ctx, "INSERT INTO pipeline_entries VALUES ($1, $2, $3, $4)", run, t.ID, s.account, s.cents)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO pipeline_accounts AS a VALUES ($1, $2, $3)
			ON CONFLICT (run, account) DO UPDATE SET cents = a.cents + excluded.cents`, run, s.account, s.cents)
		if err != nil {
			return err
		}
		time.Sleep(rand.N(3 * time.Millisecond)) // in which it may be killed
	}
	return nil
}

// consumeUnguarded is the usual loop: it handles, and then commits the offset. What was handled and not
// yet committed is handled again.
func consumeUnguarded(ctx context.Context, pool *pgxpool.Pool, run string, options []kgo.Opt) error {
	cl, err := kgo.NewClient(append(options, kgo.DisableAutoCommit())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollRecords(ctx, 20)
		for _, r := range fetches.Records() {
			err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return book(ctx, tx, run, r.Value) })
			if err != nil {
				return err
			}
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			slog.Error("commit", "error", err)
		}
	}
	return nil
}
