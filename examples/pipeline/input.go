package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once/with/oncekafka"
)

const partitions = 4

// A transfer takes cents from one account to another.
type transfer struct {
	ID    string `json:"id"`
	From  string `json:"from"`
	To    string `json:"to"`
	Cents int64  `json:"cents"`
}

// An input is what is sent, and so what the ledger has to come to.
type input struct {
	transfers []transfer
	twice     []bool // by a producer that did not hear of its success
	copies    int
	balances  map[string]int64
}

func newInput(n int, seed uint64) *input {
	r := rand.New(rand.NewPCG(seed, seed))
	in := &input{balances: make(map[string]int64)}
	for i := range n {
		from := r.IntN(10)
		t := transfer{
			ID:    fmt.Sprintf("transfer-%05d", i+1),
			From:  fmt.Sprintf("account-%d", from),
			To:    fmt.Sprintf("account-%d", (from+1+r.IntN(9))%10),
			Cents: 1 + r.Int64N(100_000),
		}
		in.balances[t.From] -= t.Cents
		in.balances[t.To] += t.Cents
		again := r.IntN(10) == 0
		in.transfers, in.twice = append(in.transfers, t), append(in.twice, again)
		if again {
			in.copies++
		}
	}
	return in
}

func (in *input) produce(ctx context.Context, cl *kgo.Client, topic string) error {
	for _, name := range []string{topic, topic + ".dead"} {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, -1, nil, name); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
	}
	var records []*kgo.Record
	for i, t := range in.transfers {
		value, err := json.Marshal(t)
		if err != nil {
			return err
		}
		r := kgo.Record{
			Topic: topic, Key: []byte(t.From), Value: value,
			Headers: []kgo.RecordHeader{{Key: oncekafka.HeaderID, Value: []byte(t.ID)}},
		}
		records = append(records, &r)
		if in.twice[i] {
			again := r
			records = append(records, &again)
		}
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// audit compares the ledger with what was sent: every transfer is booked once, every account has
// what it should, to the cent, and all together nothing.
func (in *input) audit(ctx context.Context, out io.Writer, pool *pgxpool.Pool, run string) error {
	var booked, distinct int
	var sum int64
	err := pool.QueryRow(ctx, `SELECT count(*), count(DISTINCT (transfer, account)), coalesce(sum(cents), 0)
		FROM pipeline_entries WHERE run = $1`, run).Scan(&booked, &distinct, &sum)
	if err != nil {
		return err
	}
	rows, err := pool.Query(ctx, "SELECT account, cents FROM pipeline_accounts WHERE run = $1", run)
	if err != nil {
		return err
	}
	defer rows.Close()
	off := maps.Clone(in.balances) // by how much each account is
	for rows.Next() {
		var account string
		var cents int64
		if err := rows.Scan(&account, &cents); err != nil {
			return err
		}
		off[account] -= cents
	}
	if err := rows.Err(); err != nil {
		return err
	}
	entries := 2 * len(in.transfers) // each transfer has two
	fmt.Fprintf(out, "\nbooked:     %d of %d transfers\ndoubled:    %d\nthe ledger: %s in all\n",
		distinct/2, len(in.transfers), (booked-distinct)/2, euros(sum))
	wrong := 0
	for _, account := range slices.Sorted(maps.Keys(off)) {
		if off[account] != 0 {
			wrong++
			fmt.Fprintf(out, "%s: off by %s\n", account, euros(-off[account]))
		}
	}
	if booked != entries || distinct != entries || sum != 0 || wrong > 0 {
		return fmt.Errorf("pipeline: the ledger does not balance: %d of %d accounts are wrong", wrong, len(off))
	}
	fmt.Fprintf(out, "The ledger balances to the cent: all %d accounts have what they should.\n", len(off))
	return nil
}

func euros(cents int64) string {
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%d.%02d €", sign, cents/100, cents%100)
}
