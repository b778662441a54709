package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncehttp"
)

// pay is a client that may be killed at any moment. It goes on with what an earlier one began, and
// then charges for an order of its own, if it is given one.
func pay(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet(payCommand, flag.ContinueOnError)
	url := flags.String("url", "", "where cards are charged")
	dir := flags.String("journal", "", "the folder of the journal")
	order := flags.String("order", "", "what is paid for; none if it is empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	store, err := oncedisk.Open(oncedisk.Config{Dir: *dir})
	if err != nil {
		return err
	}
	defer store.Close()
	transport, err := oncehttp.NewTransport(oncehttp.TransportConfig{})
	if err != nil {
		return err
	}
	journal, err := oncehttp.NewJournal(oncehttp.JournalConfig{
		Store: store, Scope: "charges", Transport: transport,
		Lease: 3 * time.Second, // so long the journal waits before it takes another client for dead
	})
	if err != nil {
		return err
	}
	for id, err := range journal.Pending(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  client: %s is pending, and sent again\n", id)
		res, err := journal.Resume(ctx, id)
		if err := report(out, id, res, err); err != nil {
			return err
		}
	}
	if *order == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, *url, strings.NewReader(`{"amount":1250}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	fmt.Fprintf(out, "  client: %s is put down, and sent\n", *order)
	res, err := journal.Do(ctx, *order, req)
	return report(out, *order, res, err)
}

func report(out io.Writer, id string, res *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	fmt.Fprintf(out, "  client: %s: %s, replayed: %v\n", id, res.Status, oncehttp.Replayed(res))
	return nil
}

// payAndBeKilled runs the client as a process, kills it when the card is charged and it has not
// been told, and runs it again.
func payAndBeKilled(ctx context.Context, out io.Writer, url, journal string, held <-chan struct{}) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	client := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, self, append([]string{payCommand, "--url", url, "--journal", journal}, args...)...)
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		return cmd
	}
	first := client("--order", "order-7")
	if err := first.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	select {
	case <-held:
	case err := <-ended:
		return fmt.Errorf("the client has ended too early: %w", err)
	}
	fmt.Fprintln(out, "  the card is charged, the answer is on its way, and the client is killed")
	if err := first.Process.Kill(); err != nil {
		return err
	}
	<-ended // it says that the client was killed
	return client().Run()
}
