package oncenats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/oncehq/once"
)

// Errors of JetStream by their number (server/errors.json of nats-server).
const (
	codeAccountResources  = 10002
	codeNoLeader          = 10008
	codeResources         = 10023
	codeStorage           = 10028
	codeNoMessage         = 10037
	codeNotEnabledAccount = 10039
	codeStorageOfServer   = 10047
	codeTooLarge          = 10054
	codeStreamNotFound    = 10059
	codeWrongSequence     = 10071
	codeNotEnabled        = 10076
	codeStoreFailed       = 10077
	codeBusySubject       = 10163
	codeWrongSequenceToo  = 10164
)

// A jsError is what JetStream answers instead of doing something.
type jsError struct {
	Code        int    `json:"code"`
	Number      int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *jsError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.Number) }

// rejected reports that a message was refused since the last one of its subject is not the one that
// was expected, or may not be soon: others are at it.
func (e *jsError) rejected() bool {
	return e.Number == codeWrongSequence || e.Number == codeWrongSequenceToo || e.Number == codeBusySubject
}

// apiError returns the error in an answer of JetStream, or nil.
func apiError(answer []byte) error {
	var a struct {
		Error *jsError `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("oncenats: answer is not understood: %w", err)
	}
	if a.Error != nil {
		return a.Error
	}
	return nil
}

// explain says what a verb's error means, and wraps that of package once, if there is one. Errors
// of NATS do not tell keys.
func explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	for _, plain := range []error{once.ErrClosed, once.ErrLost, once.ErrNotFound, once.ErrMismatch} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("oncenats: %s: outcome and key together are larger than the server's max_payload: %w",
			verb, once.ErrTooLarge)
	}
	text := strings.TrimPrefix(err.Error(), "oncenats: ")
	e, ok := errors.AsType[*jsError](err)
	if !ok {
		return &verbError{verb + ": " + text, err}
	}
	switch e.Number {
	case codeStoreFailed:
		if !strings.Contains(e.Description, "exceeded") {
			break
		}
		fallthrough
	case codeAccountResources, codeResources, codeStorage, codeStorageOfServer:
		return fmt.Errorf("oncenats: %s: the stream has reached its limits, or the server its (%v); raise them, "+
			"or shorten the retention: %w", verb, e, once.ErrFull)
	case codeTooLarge:
		return fmt.Errorf("oncenats: %s: outcome and key together are larger than the stream's max_msg_size: %w",
			verb, once.ErrTooLarge)
	case codeStreamNotFound:
		text += "; run once migrate, or Migrate"
	case codeNotEnabled, codeNotEnabledAccount:
		text += "; enable it in the server's configuration, and for the account of the user in the DSN"
	case codeNoLeader:
		text += "; see that most of the servers run"
	}
	return &verbError{verb + ": " + text, err}
}

// A verbError says more about an error than its own text.
type verbError struct {
	text string
	err  error
}

func (e *verbError) Error() string { return "oncenats: " + e.text }
func (e *verbError) Unwrap() error { return e.err }

// usable reports why nothing may be started.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return once.ErrClosed
	}
	return ctx.Err()
}
