package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/admin"
	"github.com/oncehq/once/cmd/once/internal/config"
)

const resolveHelp = `Resolve ends the doubt about an operation, after you have found out if it happened:

  --done FILE   it did; from now on every caller is given the response in FILE, an HTTP response
                message as curl -i prints it ("-": standard input)
  --not-done    it did not; the next caller may run it

` + keyHelp

// resolve completes or releases a record in doubt under its recorded owner.
func resolve(ctx context.Context, std stdio, args []string) error {
	fs, f := newFlags(std, "resolve", keyArgs, resolveHelp)
	done := fs.String("done", "", "it happened; `file` with the response to replay")
	notDone := fs.Bool("not-done", false, "it did not happen")
	mediaType := fs.String("type", messageType, "media `type` of the file; any other is stored as it is")
	retention := once.DefaultRetention
	fs.Func("retention", "how `long` the response answers (default 24h)", func(s string) (err error) {
		retention, err = config.ParseDuration(s)
		return err
	})
	yes := fs.Bool("yes", false, "do not ask")
	names, err := f.parse(fs, args, 1, 2)
	if err != nil {
		return err
	}
	if (*done == "") == !*notDone {
		return usagef("say either --done FILE or --not-done")
	}
	var out once.Outcome
	if *done != "" {
		if out, err = readOutcome(std, *done, *mediaType); err != nil {
			return err
		}
	}
	return f.with(ctx, func(records admin.Records) error {
		rec, err := find(ctx, records, names)
		if err != nil {
			return err
		}
		if rec.State != once.InDoubt {
			return fmt.Errorf("the operation is %s; only one in doubt can be resolved", rec.State)
		}
		what := "the next caller runs it"
		if *done != "" {
			what = "every caller is given that response"
		}
		if err := confirm(std, *yes, rec, what); err != nil {
			return err
		}
		if *done != "" {
			err = records.Complete(ctx, rec.Key, rec.Owner, out, retention)
		} else {
			err = records.Release(ctx, rec.Key, rec.Owner)
		}
		if err != nil {
			return explainLost(err)
		}
		return f.done(std, rec, map[bool]string{true: "completed", false: "released"}[*done != ""])
	})
}

// done tells what was done to a record.
func (f *storeFlags) done(std stdio, rec once.Record, what string) error {
	if f.json {
		return json.NewEncoder(std.out).Encode(map[string]string{"key": rec.Key.String(), "done": what})
	}
	_, err := fmt.Fprintf(std.out, "%s is %s\n", rec.Key, what)
	return err
}

// explainLost: between the look at the record and the change somebody else was quicker.
func explainLost(err error) error {
	if errors.Is(err, once.ErrLost) {
		return fmt.Errorf("the record has changed meanwhile; look again: %w", err)
	}
	return err
}

const messageType = "application/http"

// readOutcome reads what is to be replayed. A response message is checked now, rather than when a
// caller is given it, and brought into the form in which the gateway stores it.
func readOutcome(std stdio, file, mediaType string) (once.Outcome, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(std.in)
	} else {
		data, err = os.ReadFile(file)
	}
	if err == nil && mediaType == messageType {
		if data, err = normalize(data); err != nil {
			err = fmt.Errorf("%s is no HTTP response message: %w; it must begin like HTTP/1.1 201 Created", file, err)
		}
	}
	return once.Outcome{Type: mediaType, Data: data}, err
}

func normalize(message []byte) ([]byte, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(message)), nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if resp.StatusCode < 200 {
		return nil, errors.New("status is not final")
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Date", "Content-Length"} {
		resp.Header.Del(name)
	}
	resp.ProtoMajor, resp.ProtoMinor = 1, 1
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.TransferEncoding, resp.Trailer, resp.Close = nil, nil, false
	var b bytes.Buffer
	if err := resp.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// forget removes a record.
func forget(ctx context.Context, std stdio, args []string) error {
	fs, f := newFlags(std, "forget", keyArgs, "Forget removes a record in whatever state it is: the operation may happen again.\n\n"+keyHelp)
	yes := fs.Bool("yes", false, "do not ask")
	names, err := f.parse(fs, args, 1, 2)
	if err != nil {
		return err
	}
	return f.with(ctx, func(records admin.Records) error {
		rec, err := find(ctx, records, names)
		if err != nil {
			return err
		}
		if err := confirm(std, *yes, rec, "it may happen again"); err != nil {
			return err
		}
		if err := records.Forget(ctx, rec.Key, rec.Owner); err != nil {
			return explainLost(err)
		}
		return f.done(std, rec, "forgotten")
	})
}

// confirm asks, unless --yes has answered.
func confirm(std stdio, yes bool, rec once.Record, what string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(std.err, "%s in scope %s is %s since %s ago. After this %s.\nSure? [y/N] ",
		plain(rec.Key.ID), plain(rec.Key.Scope), rec.State, age(rec.Created), what)
	answer, err := bufio.NewReader(std.in).ReadString('\n')
	if strings.EqualFold(strings.TrimSpace(answer), "y") {
		return nil
	}
	if err != nil {
		return usagef("not confirmed; answer y, or give --yes")
	}
	return errors.New("not confirmed; nothing was changed")
}
