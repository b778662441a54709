package verify

import (
	"fmt"
	"io"
	"strings"
)

// A Result is what came of a check.
type Result string

const (
	Pass Result = "pass"
	Fail Result = "fail" // an operation may happen twice or get lost, or a MUST is violated
	Warn Result = "warn" // against a SHOULD or good practice
	Skip Result = "skip" // could not be determined; Why says what is missing
)

// A Finding is the result of a check.
type Finding struct {
	Name     string   `json:"name"`
	Section  string   `json:"section"` // of the draft, unless it names an RFC
	Result   Result   `json:"result"`
	Why      string   `json:"why"`
	Requests []string `json:"requests"` // as curl commands, each with what was answered
}

// A Report is what came of all checks.
type Report struct {
	Target    string    `json:"target"`
	Operation string    `json:"operation"` // method and path
	Strict    bool      `json:"strict"`
	Requests  int64     `json:"requests"`
	Findings  []Finding `json:"checks"`

	// Unfinished says why some checks did not run that could have. Empty: all did.
	Unfinished string `json:"unfinished,omitempty"`
}

// Count returns the number of findings with that result.
func (r *Report) Count(of Result) int {
	n := 0
	for _, f := range r.Findings {
		if f.Result == of {
			n++
		}
	}
	return n
}

// Names returns the names of the checks with that result, in order.
func (r *Report) Names(of Result) []string {
	var names []string
	for _, f := range r.Findings {
		if f.Result == of {
			names = append(names, f.Name)
		}
	}
	return names
}

// Print writes a line for each finding; below it the requests if it is a failure, or verbose.
func (r *Report) Print(w io.Writer, verbose bool) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-4s  %-20s  %-20s  %s\n", f.Result, f.Name, f.Section, oneLine(f.Why))
		if verbose || f.Result == Fail {
			for _, line := range f.Requests {
				fmt.Fprintf(&b, "        %s\n", line)
			}
		}
	}
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d warnings, %d skipped; %d requests\n",
		r.Count(Pass), r.Count(Fail), r.Count(Warn), r.Count(Skip), r.Requests)
	_, err := io.WriteString(w, b.String())
	return err
}

// oneLine keeps what a service has said from taking lines of its own or driving the terminal.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, s)
}
