package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/oncehq/once/oncehttp"
)

// send delivers an event once, as the provider does, and prints what it is answered. A provider
// delivers it again, with a new signature, until the answer is a success.
func send(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("webhook send", flag.ContinueOnError)
	url := flags.String("url", "http://127.0.0.1:8090/events", "the receiver")
	secret := flags.String("secret", defaultSecret(), "to sign with")
	age := flags.Duration("age", 0, "how long ago the delivery was signed")
	var e event
	flags.StringVar(&e.ID, "id", "evt_1", "of the event")
	flags.StringVar(&e.Type, "type", "charge.succeeded", "or charge.refunded")
	flags.StringVar(&e.Charge, "charge", "ch_1", "the charge's id")
	flags.Int64Var(&e.Amount, "amount", 1250, "in cents")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e.SentAt = time.Now()
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, *url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(signatureHeader, signature{secret: []byte(*secret)}.sign(e.SentAt.Add(-*age), body))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w; is the receiver running? go run ./examples/webhook starts it", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%s\n", res.Status, strings.TrimSpace(string(answer)))
	for _, name := range []string{oncehttp.DefaultReplayHeader, "Retry-After"} {
		if value := res.Header.Get(name); value != "" {
			fmt.Fprintf(out, "%s: %s\n", name, value)
		}
	}
	return nil
}
