package transcript

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Transcript is a conversation between clients and a door. It does not change.
type Transcript struct {
	// Name is that of the file.
	Name string

	// Settings are those of the door, by their names; a setting without a value has "".
	Settings map[string]string

	// Except says of doors, by their names, why they answer otherwise.
	Except map[string]string

	blocks []block
}

// A block is what stands between two empty lines.
type block struct {
	kind  kind
	line  int // in the file, from 1
	lines []string
}

type kind uint8

const (
	remark  kind = iota // a comment, a setting or an exception
	request             // lines without their mark, as all that follow
	response
	running
	finish
	hangUp
	sleep
)

// settings are the names that "with" may be followed by, and if by a value too.
var settings = map[string]bool{
	"required": false, "strict": false, "alias": true, "in-doubt": true, "keep": true, "methods": true,
	"request-body": true, "response-body": true, "retention": true, "wait": true,
}

// Parse parses the text of a file.
func Parse(name, text string) (*Transcript, error) {
	t := &Transcript{Name: name, Settings: map[string]string{}, Except: map[string]string{}}
	var mark string
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		at, rest, _ := strings.Cut(line, " ")
		var err error
		switch at {
		case "":
			if line != "" {
				err = fmt.Errorf("a line begins with a space")
			}
		case ">", "<":
			if at != mark {
				t.blocks = append(t.blocks, block{kind: map[string]kind{">": request, "<": response}[at], line: i + 1})
			}
			last := &t.blocks[len(t.blocks)-1]
			last.lines = append(last.lines, rest)
		case "!":
			err = t.direct(i+1, rest)
		default:
			err = t.remark(i+1, line, mark != "")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		mark = at
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	return t, nil
}

func (t *Transcript) remark(number int, line string, more bool) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "#":
	case "with":
		name, value, _ := strings.Cut(rest, " ")
		if valued, known := settings[name]; !known || valued != (value != "") {
			return fmt.Errorf("%q is no setting", rest)
		}
		t.Settings[name] = value
	case "except":
		door, why, _ := strings.Cut(rest, ": ")
		if why == "" {
			return fmt.Errorf("an exception needs a door and a reason")
		}
		t.Except[door] = why
	default:
		return fmt.Errorf("%q is not the beginning of a line", word)
	}
	if !more || len(t.blocks) == 0 || t.blocks[len(t.blocks)-1].kind != remark {
		t.blocks = append(t.blocks, block{kind: remark, line: number})
	}
	last := &t.blocks[len(t.blocks)-1]
	last.lines = append(last.lines, line)
	return nil
}

func (t *Transcript) direct(number int, what string) error {
	b := block{line: number, lines: []string{what}}
	switch word, rest, _ := strings.Cut(what, " "); {
	case what == "running":
		b.kind = running
	case what == "finish":
		b.kind = finish
	case what == "hang up":
		b.kind = hangUp
	case word == "sleep":
		if _, err := time.ParseDuration(rest); err != nil {
			return err
		}
		b.kind = sleep
	default:
		return fmt.Errorf("%q is no directive", what)
	}
	t.blocks = append(t.blocks, b)
	return nil
}

// check reports what the player could not do.
func (t *Transcript) check() error {
	responses := 0
	var last kind // but remarks
	open, hung := false, false
	for _, b := range t.blocks {
		if b.kind == remark {
			continue
		}
		// after are the kinds that this one may come after.
		after := []kind{remark, response, running, hangUp, sleep}
		switch b.kind {
		case response:
			responses++
			after = []kind{request}
			if last == finish && !hung {
				after = []kind{finish}
			}
		case running:
			after = []kind{request}
			if open {
				after = nil
			}
			open, hung = true, false
		case hangUp:
			if !open || hung {
				after = nil
			}
			hung = true
		case finish:
			if !open {
				after = nil
			}
			open = false
		default:
			if hung {
				after = append(after, finish)
			}
		}
		if !slices.Contains(after, last) {
			return fmt.Errorf("%d: this cannot come here", b.line)
		}
		last = b.kind
	}
	switch {
	case responses == 0:
		return fmt.Errorf("1: there is no response")
	case open, last == request, last == finish && !hung:
		return fmt.Errorf("1: a response is missing at the end")
	}
	return nil
}

// text returns the file with these responses in place of its own.
func (t *Transcript) text(responses [][]string) string {
	var b strings.Builder
	for i, bl := range t.blocks {
		if i > 0 {
			b.WriteString("\n")
		}
		mark, lines := "", bl.lines
		switch bl.kind {
		case request:
			mark = ">"
		case response:
			mark = "<"
			lines, responses = responses[0], responses[1:]
		case running, finish, hangUp, sleep:
			mark = "!"
		}
		for _, line := range lines {
			switch {
			case mark == "":
				b.WriteString(line)
			case line == "":
				b.WriteString(mark)
			default:
				b.WriteString(mark + " " + line)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
