package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/admin"
	"github.com/oncehq/once/cmd/once/internal/gateway"
)

// list prints the records that match.
func list(ctx context.Context, std stdio, args []string) error {
	fs, f := newFlags(std, "ls", "", "Ls lists records, in no particular order.")
	var filter once.Filter
	fs.StringVar(&filter.Scope, "scope", "", "only of this `scope`, as ls shows it")
	fs.DurationVar(&filter.OlderThan, "older", 0, "only those made at least this long ago")
	fs.Func("state", "only in this `state`: in-flight, in-doubt or done", func(s string) (err error) {
		filter.State, err = once.ParseState(s)
		return err
	})
	limit := fs.Int("limit", 0, "stop after so many; 0: never")
	if _, err := f.parse(fs, args, 0, 0); err != nil {
		return err
	}
	return f.with(ctx, func(records admin.Records) error {
		n := 0
		for rec, err := range records.List(ctx, filter) {
			if err != nil {
				return err
			}
			if n++; n == 1 && !f.json {
				fmt.Fprintln(std.out, "KEY                   STATE      ATTEMPT  AGE      SCOPE  ID")
			}
			if err := printLine(std.out, rec, f.json); err != nil {
				return err
			}
			if n == *limit {
				break
			}
		}
		if n == 0 && !f.json {
			fmt.Fprintln(std.err, "no records")
		}
		return nil
	})
}

func printLine(w io.Writer, rec once.Record, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(toJSON(rec))
	}
	_, err := fmt.Fprintf(w, "%-20s  %-9s  %7d  %-7s  %s  %s\n", rec.Key, rec.State, rec.Attempt, age(rec.Created),
		plain(rec.Key.Scope), plain(rec.Key.ID))
	return err
}

// plain returns a part of a key so that it stays on its line and cannot drive the terminal.
func plain(s string) string {
	if q := strconv.QuoteToASCII(s); q != `"`+s+`"` {
		return q
	}
	return s
}

func age(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return short(time.Since(since))
}

// short prints a duration in its largest unit.
func short(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= 2*u.unit {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return strconv.FormatFloat(max(d, 0).Seconds(), 'f', 1, 64) + "s"
}

// A recordJSON is a record as --json prints it. A scope or id that is not text is in base64.
type recordJSON struct {
	Key       string       `json:"key"`
	Scope     string       `json:"scope,omitempty"`
	Scope64   string       `json:"scope64,omitempty"`
	ID        string       `json:"id,omitempty"`
	ID64      string       `json:"id64,omitempty"`
	State     string       `json:"state"`
	Attempt   int          `json:"attempt"`
	Fence     uint64       `json:"fence"`
	Created   time.Time    `json:"created,omitzero"`
	Lease     string       `json:"lease,omitempty"`     // what is left
	Retention string       `json:"retention,omitempty"` // what is left
	Outcome   *outcomeJSON `json:"outcome,omitempty"`
}

type outcomeJSON struct {
	Failed bool   `json:"failed"`
	Type   string `json:"type"`
	Text   string `json:"text,omitempty"`
	Data64 string `json:"data64,omitempty"`
}

func toJSON(rec once.Record) recordJSON {
	j := recordJSON{Key: rec.Key.String(), State: rec.State.String(), Attempt: rec.Attempt, Fence: rec.Fence, Created: rec.Created}
	j.Scope, j.Scope64 = textOr64([]byte(rec.Key.Scope))
	j.ID, j.ID64 = textOr64([]byte(rec.Key.ID))
	switch rec.State {
	case once.Done:
		j.Retention = retention(rec.Retention)
		j.Outcome = &outcomeJSON{Failed: rec.Outcome.Failed, Type: rec.Outcome.Type}
		j.Outcome.Text, j.Outcome.Data64 = textOr64(rec.Outcome.Data)
	case once.InFlight:
		j.Lease = rec.Lease.String()
	}
	return j
}

func textOr64(b []byte) (text, base string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return "", base64.StdEncoding.EncodeToString(b)
}

func retention(d time.Duration) string {
	if d > once.Forever/2 {
		return "forever"
	}
	return d.Round(time.Second).String()
}

// show prints a record and its outcome.
func show(ctx context.Context, std stdio, args []string) error {
	fs, f := newFlags(std, "show", keyArgs, "Show prints a record and the response that is stored in it.\n\n"+keyHelp)
	names, err := f.parse(fs, args, 1, 2)
	if err != nil {
		return err
	}
	return f.with(ctx, func(records admin.Records) error {
		rec, err := find(ctx, records, names)
		if err != nil {
			return err
		}
		if f.json {
			return json.NewEncoder(std.out).Encode(toJSON(rec))
		}
		describe(std.out, rec)
		return nil
	})
}

func describe(w io.Writer, rec once.Record) {
	fmt.Fprintf(w, "key        %s\nscope      %s\nid         %s\nstate      %s\nattempt    %d\nfence      %d\ncreated    %s (%s ago)\n",
		rec.Key, plain(rec.Key.Scope), plain(rec.Key.ID), rec.State, rec.Attempt, rec.Fence, rec.Created.Format(time.RFC3339), age(rec.Created))
	switch rec.State {
	case once.InFlight:
		fmt.Fprintf(w, "lease      %v left\n", rec.Lease.Round(time.Millisecond))
	case once.InDoubt:
		fmt.Fprintf(w, "derived    %s\n\nNobody knows if it happened. Find out, for example by the derived key, which a service behind the\n"+
			"gateway was sent as %s, and tell with once resolve.\n", gateway.DerivedKey(rec.Key), gateway.DerivedField)
	case once.Done:
		fmt.Fprintf(w, "retention  %s left\nfailed     %v\ntype       %s\n\n", retention(rec.Retention), rec.Outcome.Failed, rec.Outcome.Type)
		w.Write(printable(rec.Outcome.Data))
		fmt.Fprintln(w)
	}
}

// printable returns an outcome as text, if it is some, without what could drive a terminal.
func printable(data []byte) []byte {
	if !utf8.Valid(data) {
		return fmt.Appendf(nil, "%d bytes that are not text; see --json", len(data))
	}
	return []byte(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return -1
	}, string(data)))
}
