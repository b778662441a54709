package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/stores"
)

// doctor says what a store guarantees, and what is wrong with it.
func doctor(ctx context.Context, std stdio, args []string) error {
	fs, f := newFlags(std, "doctor", "", "Doctor checks a store and says what its acknowledgement is worth.")
	salvage := fs.String("salvage", "", "copy what is readable of a damaged disk store to a new `directory`")
	if _, err := f.parse(fs, args, 0, 0); err != nil {
		return err
	}
	say := func(format string, args ...any) {
		if !f.json {
			fmt.Fprintf(std.out, format+"\n", args...)
		}
	}
	if *salvage != "" {
		scheme, err := stores.Of(f.dsn)
		if err != nil || scheme.Salvage == nil {
			return usagef("store %s cannot be salvaged", stores.Redact(f.dsn))
		}
		return scheme.Salvage(ctx, f.dsn, *salvage, say)
	}
	say("store %s", stores.Redact(f.dsn))
	g, err := stores.Examine(ctx, f.dsn, say)
	if err != nil && g.Store == "" {
		return err
	}
	if f.json {
		return errors.Join(json.NewEncoder(std.out).Encode(map[string]any{
			"store": stores.Redact(f.dsn), "crash": g.Crash.String(), "power": g.Power.String(),
			"failover": g.Failover.String(), "shared": g.Shared, "notes": g.Notes,
		}), err)
	}
	printGuarantees(std.out, g)
	return err
}

func printGuarantees(w io.Writer, g once.Guarantees) {
	fmt.Fprintf(w, "\nAn acknowledged claim, if\n  the store's process is killed     %s\n  the machine loses power           %s\n  another machine takes over        %s\n",
		g.Crash, g.Power, g.Failover)
	fmt.Fprintf(w, "Several processes at once           %s\n", map[bool]string{true: "yes", false: "no"}[g.Shared])
	if weakness := g.Weakness(); weakness != "" {
		fmt.Fprintf(w, "\nHold is refused over this store: a claim may not survive %s.\n", weakness)
	}
	if len(g.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, n := range g.Notes {
		fmt.Fprintf(w, "- %s\n", n)
	}
}

// migrate creates or updates the schema.
func migrate(ctx context.Context, std stdio, args []string) error {
	fs, f := newFlags(std, "migrate", "", "Migrate creates or updates the schema of a store in a server. It is never done by itself.")
	dryRun := fs.Bool("dry-run", false, "print the whole schema, and change nothing")
	if _, err := f.parse(fs, args, 0, 0); err != nil {
		return err
	}
	scheme, err := stores.Of(f.dsn)
	if err != nil {
		return err
	}
	if *dryRun && scheme.Schema != nil {
		text, err := scheme.Schema(f.dsn)
		if err == nil {
			fmt.Fprint(std.out, text)
		}
		return err
	}
	if scheme.Migrate == nil {
		fmt.Fprintf(std.out, "store %s has no schema; nothing to be done\n", stores.Redact(f.dsn))
		return nil
	}
	if err := scheme.Migrate(ctx, f.dsn); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "store %s has the schema that this version needs\n", stores.Redact(f.dsn))
	return nil
}
