package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/oncehq/once/cmd/once/internal/demo"
)

const demoHelp = `Usage: once demo [flags]

Demo runs a payments service whose customers retry while the network fails and processes are
killed, without Once and with it, and counts the charges. The exit status is 1 if with Once
anything was charged twice.

Flags:
`

// runDemo tells the story.
func runDemo(ctx context.Context, std stdio, args []string) error {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {} // also called after a mistake
	var o demo.Options
	fs.Uint64Var(&o.Seed, "seed", 1, "`number` that decides what the network does, and when processes are killed")
	fs.IntVar(&o.Intents, "intents", 600, "`number` of customers")
	asJSON := fs.Bool("json", false, "print the figures as JSON, and the story on standard error")
	fs.BoolVar(&o.Open, "open", false, "keep gateway and service up at the end, to play with")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(std.out, demoHelp)
		fs.SetOutput(std.out)
		fs.PrintDefaults()
		return err
	case err != nil:
		return usagef("%w; see once demo --help", err)
	case fs.NArg() > 0:
		return usagef("it has no arguments; see once demo --help")
	case o.Intents < 1 || o.Intents > 100_000:
		return usagef("intents must be from 1 to 100000")
	}
	if *asJSON {
		o.JSON, std.out = std.out, std.err
	}
	return demo.Run(ctx, std.out, o)
}

// demoService is the payments service of the demo, in a process of its own.
func demoService(ctx context.Context, std stdio, args []string) error {
	if len(args) != 2 {
		return usagef("it is for once demo")
	}
	demo.UntilParentEnds(std.in, func() { os.Exit(statusFailure) })
	return demo.Service(ctx, args[0], args[1])
}

// demoGateway is once serve, but ends with the demo.
func demoGateway(ctx context.Context, std stdio, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	demo.UntilParentEnds(std.in, func() {
		cancel()
		time.AfterFunc(5*time.Second, func() { os.Exit(statusFailure) })
	})
	return serve(ctx, std, args)
}
