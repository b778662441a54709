package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/admin"
	"github.com/oncehq/once/cmd/once/internal/config"
	"github.com/oncehq/once/cmd/once/internal/stores"
)

// newFlags returns the flags that all commands over a store have. what describes the command, after
// its name.
func newFlags(std stdio, name, args, what string) (*flag.FlagSet, *storeFlags) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are told once, by main
	fs.Usage = func() {}     // also called after a mistake
	f := &storeFlags{}
	f.help = func() {
		fmt.Fprintf(std.out, "Usage: once %s [flags] %s\n\n%s\n\nFlags:\n", name, args, what)
		fs.SetOutput(std.out)
		fs.PrintDefaults()
	}
	fs.StringVar(&f.dsn, "store", os.Getenv(config.EnvName("store")),
		"`DSN` of the store: "+stores.Forms()+"; without it $ONCE_STORE, else the one in the data directory")
	fs.StringVar(&f.dataDir, "data-dir", os.Getenv(config.EnvName("data-dir")), "data `directory`, as of once serve")
	fs.BoolVar(&f.json, "json", false, "print JSON, a line each")
	return fs, f
}

type storeFlags struct {
	help    func() // prints it
	dsn     string
	dataDir string
	json    bool
}

// parse parses args, which may have flags before and behind the arguments. It returns those.
func (f *storeFlags) parse(fs *flag.FlagSet, args []string, least, most int) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				f.help()
				return nil, err
			}
			return nil, usagef("%w; see once %s --help", err, fs.Name())
		}
		if fs.NArg() == 0 {
			break
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
	if len(rest) < least || len(rest) > most {
		return nil, usagef("%d arguments; see once %s --help", len(rest), fs.Name())
	}
	dsn, err := stores.Resolve(f.dsn, f.dataDir)
	if err == nil {
		f.dsn, err = dsn, stores.Check(dsn)
	}
	if err != nil {
		return nil, usagef("store %w", err)
	}
	return rest, nil
}

// open returns the records of the store: through the process that has it open, if there is one,
// else by opening it.
func (f *storeFlags) open(ctx context.Context) (admin.Records, func() error, error) {
	if dir := stores.Directory(f.dsn); dir != "" {
		if c, err := admin.Dial(ctx, dir); err == nil {
			return c, c.Close, nil
		}
		if err := stores.CheckDirectory(dir); err != nil {
			return nil, nil, err
		}
	}
	s, err := stores.Open(ctx, f.dsn)
	if err != nil {
		return nil, nil, err
	}
	return admin.Of(s), func() error { return stores.Close(s) }, nil
}

// with opens the records for f and closes them.
func (f *storeFlags) with(ctx context.Context, do func(admin.Records) error) error {
	records, done, err := f.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(records), done())
}

const keyArgs = "KEY | SCOPE ID"

const keyHelp = `A record is named by its scope and id, or by KEY, a digest such as key:1f8a40c2b7d93e65 that logs
and once ls show.`

// find loads the record that the arguments name.
func find(ctx context.Context, records admin.Records, args []string) (once.Record, error) {
	if len(args) == 2 {
		return records.Load(ctx, once.Key{Scope: args[0], ID: args[1]})
	}
	digest, ok := strings.CutPrefix(args[0], "key:")
	if b, err := hex.DecodeString(digest); !ok || err != nil || len(b) != 8 {
		return once.Record{}, usagef("%q names no record; write key:… as once ls shows it, or scope and id", args[0])
	}
	for rec, err := range records.List(ctx, once.Filter{}) {
		if err != nil {
			return once.Record{}, err
		}
		if rec.Key.String() == args[0] {
			return records.Load(ctx, rec.Key)
		}
	}
	return once.Record{}, once.ErrNotFound
}
