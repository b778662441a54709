// Command quickstart is the smallest service that charges a card once, however often the request is repeated.
//
//	go run ./examples/quickstart
//	curl -i -H 'Idempotency-Key: "k1"' -d '{"amount":1250}' localhost:8090/charges   # twice
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncehttp"
)

const try = `Send this twice:

  curl -i -H 'Idempotency-Key: "k1"' -d '{"amount":1250}' http://%s/charges
`

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "where clients connect")
	flag.Parse()
	store, err := oncedisk.Open(oncedisk.Config{Dir: "once-data"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	guard, err := once.New(once.Config{Store: store, InDoubt: once.Hold})
	if err != nil {
		log.Fatal(err)
	}
	idempotent, err := oncehttp.New(oncehttp.Config{
		Guard:                guard,
		DangerouslyShareKeys: true, // one caller only; else Scope says whose request it is
	})
	if err != nil {
		log.Fatal(err)
	}
	var charges atomic.Int64
	charge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"charge":%d,"request":%s}`+"\n", charges.Add(1), body)
	})
	mux := http.NewServeMux()
	mux.Handle("POST /charges", idempotent.Wrap(charge))
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf(try, l.Addr())
	log.Fatal(http.Serve(l, mux))
}
