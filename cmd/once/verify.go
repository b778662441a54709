package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/oncehq/once/cmd/once/internal/verify"
)

const verifyHelp = `Usage: once verify --target URL [flags]

Verify tests an HTTP service from outside: does it keep the promises of the Idempotency-Key header
(draft-ietf-httpapi-idempotency-key-header-07)? It may be any service, whether it uses Once or not.

IT REALLY EXECUTES THE OPERATION, many times: how often is said before it starts. Use a test account.
A target that is not on this machine needs --yes.

Paths and bodies are templates: {{n}} is a number and {{uuid}} a UUID, new for each operation and the
same for its retries. A body without them can be varied by --vary.

  once verify --target https://test.example --path /charges --header 'Authorization: Bearer …' \
      --body '{"order": "{{uuid}}", "amount": 100}' --effects-path /charges/stats --effects-pointer /count

Exit status: 0 if no check failed, 1 if one did, 2 if the service could not be tested (to its end).

Flags:
`

// verifyFlags is what the command line says.
type verifyFlags struct {
	cfg      verify.Config
	bodyFile string
	junit    string
	json     bool
	verbose  bool
	yes      bool
}

// runVerify tests a service for idempotency.
func runVerify(ctx context.Context, std stdio, args []string) error {
	f, err := parseVerify(std, args)
	if err != nil {
		return err
	}
	progress := f.progress(std)
	v, err := verify.New(f.cfg)
	if err != nil {
		return usageError{listed(err)}
	}
	ops, most := v.Plan()
	plan := fmt.Sprintf("executes %s at %s about %d times, and up to %d times if the service does not know the key",
		f.cfg.Method, f.cfg.Target+f.cfg.Path, ops, most)
	if !f.yes && !f.cfg.Loopback() {
		return usagef("it %s; if that may happen, say --yes", plan)
	}
	fmt.Fprintf(std.err, "once verify %s\n", plan)
	report, err := v.Run(ctx)
	progress()
	if err != nil {
		return usageError{err}
	}
	if err := f.write(std.out, report); err != nil {
		return err
	}
	if n := report.Count(verify.Fail); n > 0 {
		return fmt.Errorf("%d of %d checks failed", n, len(report.Findings))
	}
	if report.Unfinished != "" {
		return usagef("not all checks ran: %s", report.Unfinished)
	}
	return nil
}

func (f *verifyFlags) write(w io.Writer, report *verify.Report) error {
	if f.junit != "" {
		file, err := os.Create(f.junit)
		if err != nil {
			return err
		}
		if err := errors.Join(report.WriteJUnit(file), file.Close()); err != nil {
			return err
		}
	}
	if f.json {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	return report.Print(w, f.verbose)
}

// progress shows which check runs, on a terminal. The function it returns wipes that away.
func (f *verifyFlags) progress(std stdio) func() {
	file, ok := std.err.(*os.File)
	if !ok {
		return func() {}
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	f.cfg.Progress = func(done, all int, name string) { fmt.Fprintf(file, "\r\x1b[K%d/%d %s", done, all, name) }
	return func() { fmt.Fprint(file, "\r\x1b[K") }
}

func parseVerify(std stdio, args []string) (*verifyFlags, error) {
	fs := flag.NewFlagSet("verify", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {} // also called after a mistake
	f := &verifyFlags{}
	f.defineRequest(fs)
	f.defineRun(fs)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(std.out, verifyHelp)
		fs.SetOutput(std.out)
		fs.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, usagef("%w; see once verify --help", err)
	case fs.NArg() > 0:
		return nil, usagef("it has no arguments; see once verify --help")
	case f.bodyFile != "" && f.cfg.Body != "":
		return nil, usagef("give body or body-file, not both")
	case f.bodyFile != "":
		b, err := os.ReadFile(f.bodyFile)
		if err != nil {
			return nil, usageError{err}
		}
		f.cfg.Body = string(b)
	}
	return f, nil
}

// defineRequest defines the flags that say how a valid request is made.
func (f *verifyFlags) defineRequest(fs *flag.FlagSet) {
	c := &f.cfg
	fs.StringVar(&c.Target, "target", "", "base `URL` of the service")
	fs.StringVar(&c.Method, "method", http.MethodPost, "`method` of the operation")
	fs.StringVar(&c.Path, "path", "", "`path` of the operation, appended to the target")
	fs.StringVar(&c.Body, "body", "", "`template` of the body")
	fs.StringVar(&f.bodyFile, "body-file", "", "`file` with the template of the body")
	fs.StringVar(&c.Vary, "vary", "", "JSON `pointer` to a string or an integer of the body that may be another each time")
	fs.Func("header", "`field` to send, \"Name: value\"; may be repeated", fields(&c.Header))
	fs.Func("other-header", "`field` with the credentials of somebody else; may be repeated", fields(&c.OtherHeader))
	fs.StringVar(&c.OtherPath, "other-path", "", "another `path` that takes the same method and body")
	fs.StringVar(&c.BadBody, "bad-body", "", "`template` of a body that is answered with an error (4xx)")
	fs.StringVar(&c.LargeBody, "large-body", "", "`template` of a body that is answered with a large response")
	fs.StringVar(&c.PutPath, "put-path", "", "`path` of a PUT that does no harm")
	fs.StringVar(&c.PutBody, "put-body", "", "`template` of its body")
	fs.StringVar(&c.EffectsPath, "effects-path", "", "`path` or URL where a GET counts the effects of the operation; without it some checks are skipped")
	fs.StringVar(&c.EffectsPointer, "effects-pointer", "", "JSON `pointer` to the count, or an array, in its response")
	fs.StringVar(&c.KeyHeader, "key-header", verify.DefaultKeyHeader, "`name` of the field with the key")
	fs.BoolVar(&c.Bare, "bare", false, "send keys without quotes, which some services want")
}

// defineRun defines the flags that say what is checked, and how.
func (f *verifyFlags) defineRun(fs *flag.FlagSet) {
	c := &f.cfg
	fs.BoolVar(&c.KeyRequired, "key-required", false, "the operation requires a key")
	fs.BoolVar(&c.Strict, "strict", false, "make failures of warnings; the key is required, and quoted")
	fs.DurationVar(&c.Expiry, "expiry", 0, "how `long` keys are kept, if so short that it can be waited for")
	fs.Func("ignore-header", "`name` of a field that may differ in a replay; may be repeated", func(s string) error {
		c.IgnoreHeaders = append(c.IgnoreHeaders, s)
		return nil
	})
	fs.IntVar(&c.Concurrency, "concurrency", verify.DefaultConcurrency, "`number` of requests at once")
	fs.IntVar(&c.MaxRequests, "max-requests", verify.DefaultMaxRequests, "`number` of requests after which it ends")
	fs.DurationVar(&c.Timeout, "timeout", verify.DefaultTimeout, "`time` after which it ends")
	fs.DurationVar(&c.RequestTimeout, "request-timeout", verify.DefaultRequestTimeout, "`time` that a response may take")
	fs.DurationVar(&c.Pause, "pause", verify.DefaultPause, "`pause` before each request")
	fs.DurationVar(&c.Settle, "settle", verify.DefaultSettle, "`time` after which a key that is still in flight is stuck")
	fs.StringVar(&f.junit, "junit", "", "write a report for continuous integration to this `file` as well")
	fs.BoolVar(&f.json, "json", false, "print the report as JSON")
	fs.BoolVar(&f.verbose, "verbose", false, "show the requests of all checks, not of failures only")
	fs.BoolVar(&f.yes, "yes", false, "execute the operation though the target is not on this machine")
}

// fields returns a flag that adds to a header.
func fields(h *http.Header) func(string) error {
	return func(s string) error {
		name, value, found := strings.Cut(s, ":")
		if !found || strings.TrimSpace(name) == "" {
			return errors.New(`it is not of the form "Name: value"`)
		}
		if *h == nil {
			*h = http.Header{}
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	}
}
