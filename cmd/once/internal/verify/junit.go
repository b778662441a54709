package verify

import (
	"encoding/xml"
	"io"
	"strings"
)

// The elements of JUnit's report that tools agree on.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
		Output  string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as XML that continuous integration reads.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "once verify " + r.Operation, Tests: len(r.Findings),
		Failures: r.Count(Fail), Skipped: r.Count(Skip)}
	for _, f := range r.Findings {
		c := junitCase{Name: f.Name, Class: "verify." + f.Section}
		switch f.Result {
		case Fail:
			c.Failure = &junitMessage{Message: oneLine(f.Why), Text: strings.Join(f.Requests, "\n")}
		case Skip:
			c.Skipped = &junitMessage{Message: oneLine(f.Why)}
		default:
			c.Output = string(f.Result) + ": " + oneLine(f.Why)
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
