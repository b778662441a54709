package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/oncehq/once/oncehttp"
)

// report prints the two runs side by side.
func report(out io.Writer, without, with outcome) {
	row := func(name string, a, b string) { fmt.Fprintf(out, "  %-34s %14s %14s\n", name, a, b) }
	count := func(name string, f func(outcome) int) {
		row(name, strconv.Itoa(f(without)), strconv.Itoa(f(with)))
	}
	fmt.Fprintln(out)
	row("", "without Once", "with Once")
	count("intents", func(o outcome) int { return o.Intents })
	count("requests that arrived", func(o outcome) int { return o.Requests })
	count("requests lost, delayed, repeated", func(o outcome) int { return o.Troubled })
	count("kill -9 of the service", func(o outcome) int { return o.ServiceKills })
	row("kill -9 of the gateway", "-", strconv.Itoa(with.GatewayKills))
	count("executions begun by the service", func(o outcome) int { return o.Executions })
	count("charges in the ledger", func(o outcome) int { return o.Charges })
	count("intents charged more than once", func(o outcome) int { return o.Twice })
	count("intents never charged", func(o outcome) int { return o.Never })
	count("customers told something wrong", func(o outcome) int { return o.Wrong })
	count("customers who gave up", func(o outcome) int { return o.Unsettled })
	row("in doubt, resolved afterwards", "-", strconv.Itoa(with.Resolved.Charged+with.Resolved.Not))
	row("seconds", fmt.Sprintf("%.1f", without.Took.Seconds()), fmt.Sprintf("%.1f", with.Took.Seconds()))
	fmt.Fprintln(out)
	explain(out, without, with)
}

func explain(out io.Writer, without, with outcome) {
	if extra := without.Charges - without.Intents + without.Never; extra > 0 {
		fmt.Fprintf(out, "Without Once %d customers paid more than once, %d charges too many.\n", without.Twice, extra)
	}
	r := with.Resolved
	if r.Charged+r.Not > 0 {
		fmt.Fprintf(out, `With Once %d operations were in doubt when a process had been killed in the middle of them: nobody
could know if the card was charged, and the gateway did not guess. Afterwards the ledger was asked by
the derived key that the gateway had sent along: %d had been charged and were completed, %d had not
and were released. That is what once ls, show and resolve are for.
`, r.Charged+r.Not, r.Charged, r.Not)
	}
	if with.kept() {
		fmt.Fprintln(out, "With Once every intent was charged exactly once, and every customer was told the truth.")
	}
}

// stayOpen leaves gateway and service running to be played with.
func (r *run) stayOpen(ctx context.Context, out io.Writer) error {
	if err := answers(ctx, r.serviceAt+"/charges"); err != nil {
		return err
	}
	dsn := "disk:" + storePath(r.dir)
	fmt.Fprintf(out, `
Gateway and service stay up until you press Ctrl-C. Try:

  # send this twice: one charge, and the second answer is a replay
  curl -si %[1]s/charges -H 'X-Tenant: shop-1' -H 'Idempotency-Key: my-first' -d '{"intent":"mine","amount":4200}'

  # the same key for something else is refused
  curl -si %[1]s/charges -H 'X-Tenant: shop-1' -H 'Idempotency-Key: my-first' -d '{"intent":"other","amount":1}'

  # the service itself, without Once
  curl -si %[2]s/charges -d '{"intent":"bare","amount":4200}'

  # what the gateway remembers
  %[5]s ls --store %[3]s --limit 10
  %[5]s show --store %[3]s '%[6]s' my-first

  # the ledger
  tail -f %[4]s
`, r.url, r.serviceAt, dsn, ledgerPath(r.dir), program(), oncehttp.OperationScope("POST", "/charges", "header:"+tenant))
	<-ctx.Done()
	return nil
}

// program returns what to type to run this program.
func program() string {
	self, err := os.Executable()
	if err != nil {
		return "once"
	}
	if found, err := exec.LookPath("once"); err == nil && found == self {
		return "once"
	}
	return self
}
