// Once is a gateway that makes the operations of an HTTP service happen once, and the tool to look
// after its records. See once help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/oncehq/once/cmd/once/internal/demo"
)

// Exit statuses.
const (
	statusOK      = 0
	statusFailure = 1
	statusUsage   = 2
)

// A command is what follows the program's name.
type command struct {
	name string
	help string // one line; empty: not shown
	run  func(context.Context, stdio, []string) error
}

// stdio is what a command talks to.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// A usageError says that the command line is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func commands() []command {
	return []command{
		{name: "serve", help: "guard an HTTP service: a gateway in front of it", run: serve},
		{name: "ls", help: "list records", run: list},
		{name: "show", help: "show a record and its stored response", run: show},
		{name: "resolve", help: "say what became of an operation in doubt", run: resolve},
		{name: "forget", help: "remove a record", run: forget},
		{name: "doctor", help: "check a store and say what it guarantees", run: doctor},
		{name: "migrate", help: "create or update a store's schema", run: migrate},
		{name: "verify", help: "test any HTTP service: does it honour idempotency keys?", run: runVerify},
		{name: "demo", help: "see double charges happen, and not happen", run: runDemo},
		{name: "version", help: "print the version", run: version},
		{name: demo.ServiceCommand, run: demoService},
		{name: demo.GatewayCommand, run: demoGateway},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, stdio{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

// run carries out the command line and returns the exit status.
func run(ctx context.Context, std stdio, args []string) int {
	if len(args) == 0 {
		help(std.err)
		return statusUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		help(std.out)
		return statusOK
	case "--version":
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return exit(std, c.name, c.run(ctx, std, args[1:]))
		}
	}
	fmt.Fprintf(std.err, "once: there is no command %q; see once help\n", args[0])
	return statusUsage
}

func exit(std stdio, name string, err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp): // the command has shown its help
		return statusOK
	default:
		fmt.Fprintf(std.err, "once %s: %v\n", name, err)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return statusUsage
	}
	return statusFailure
}

func help(w io.Writer) {
	fmt.Fprint(w, "Once makes an operation happen once, however often it is requested.\n\nUsage: once COMMAND [flags]\n\n")
	for _, c := range commands() {
		if c.help != "" {
			fmt.Fprintf(w, "  %-10s %s\n", c.name, c.help)
		}
	}
	fmt.Fprint(w, "\nSee once COMMAND --help for the flags of a command.\n\n"+
		"Exit status: 0 if all went well, 1 after a failure, 2 if the command line or a setting is wrong.\n")
}
