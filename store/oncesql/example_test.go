package oncesql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/oncesql"
)

// payment is a row with an id that the client has chosen for the request, and a rule of the
// business's own: one payment an invoice.
const payment = `CREATE TABLE payments (
	id             INTEGER PRIMARY KEY,
	transaction_id TEXT NOT NULL UNIQUE,
	invoice        TEXT NOT NULL UNIQUE,
	cents          INTEGER NOT NULL)`

func ExampleInserter() {
	ctx := context.Background()
	db, cleanUp := exampleDB(payment)
	defer cleanUp()

	payments, err := oncesql.NewInserter(oncesql.InsertConfig{
		Database:  oncesql.SQLite,
		Table:     "payments",
		Key:       []string{"transaction_id"},
		Columns:   []string{"transaction_id", "invoice", "cents"},
		Returning: []string{"id"},
	})
	if err != nil {
		log.Fatal(err)
	}
	pay := func(transactionID, invoice string, cents int) {
		var id int64
		inserted, err := payments.Run(ctx, db, []any{transactionID, invoice, cents}, &id)
		constraint, taken := oncesql.Duplicate(err)
		switch {
		case errors.Is(err, once.ErrMismatch):
			fmt.Println("422: the transaction id was used for another payment")
		case taken && constraint == "payments.invoice":
			fmt.Println("409: the invoice is paid")
		case err != nil:
			log.Fatal(err)
		case inserted:
			fmt.Println("201: payment", id)
		default:
			fmt.Println("200: payment", id, "as before")
		}
	}
	pay("t-1", "invoice 7", 1000)
	pay("t-1", "invoice 7", 1000) // the client has heard nothing, and asks again
	pay("t-1", "invoice 8", 5)
	pay("t-2", "invoice 7", 1000)
	// Output:
	// 201: payment 1
	// 200: payment 1 as before
	// 422: the transaction id was used for another payment
	// 409: the invoice is paid
}

func ExampleDuplicate() {
	db, cleanUp := exampleDB(payment)
	defer cleanUp()
	insert := "INSERT INTO payments (transaction_id, invoice, cents) VALUES (?, ?, ?)"
	for _, invoice := range []string{"invoice 7", "invoice 7", "invoice 8"} {
		_, err := db.Exec(insert, "t-"+invoice, invoice, 1000)
		constraint, dup := oncesql.Duplicate(err)
		fmt.Printf("inserted: %v, duplicate: %v of %q\n", err == nil, dup, constraint)
	}
	// Output:
	// inserted: true, duplicate: false of ""
	// inserted: false, duplicate: true of "payments.invoice"
	// inserted: true, duplicate: false of ""
}

// exampleDB opens a new SQLite database with the table.
func exampleDB(table string) (db *sql.DB, cleanUp func()) {
	dir, err := os.MkdirTemp("", "once-example-")
	if err != nil {
		log.Fatal(err)
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "db"))
	if err == nil {
		_, err = db.Exec(table)
	}
	if err != nil {
		log.Fatal(err)
	}
	return db, func() {
		db.Close()
		os.RemoveAll(dir)
	}
}
