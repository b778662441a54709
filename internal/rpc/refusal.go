package rpc

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
)

// Domain is that of the google.rpc.ErrorInfo which tells why a call was refused (AIP-193).
const Domain = "github.com/oncehq/once"

// Reasons in the google.rpc.ErrorInfo of a refused call.
const (
	KeyMissing       = "KEY_MISSING"
	KeyInvalid       = "KEY_INVALID"
	KeyReused        = "KEY_REUSED"
	ScopeRefused     = "SCOPE_REFUSED"
	StreamRefused    = "STREAM_REFUSED"
	InFlight         = "IN_FLIGHT"
	InDoubt          = "IN_DOUBT"
	ResponseNotKept  = "RESPONSE_NOT_KEPT"
	RolledBack       = "ROLLED_BACK"
	OutcomeUnknown   = "OUTCOME_UNKNOWN"
	StoreUnavailable = "STORE_UNAVAILABLE"
	StoreFull        = "STORE_FULL"
	RecordUnreadable = "RECORD_UNREADABLE"
)

const (
	errorInfoType = "type.googleapis.com/google.rpc.ErrorInfo"
	retryInfoType = "type.googleapis.com/google.rpc.RetryInfo"
	retryable     = "retryable" // in the metadata of the ErrorInfo
)

// Refuse returns the reply by which a call is refused. after is when the client should come back, for
// reasons that pass.
func Refuse(reason string, after time.Duration) *Reply {
	code, message, passes := explain(reason)
	return refusal(code, reason, message, passes, after)
}

// RefuseKey is like Refuse for a key that cannot be used; the client is told why.
func RefuseKey(why error) *Reply {
	return refusal(InvalidArgument, KeyInvalid, "idempotency key: "+why.Error(), false, 0)
}

func refusal(code Code, reason, message string, passes bool, after time.Duration) *Reply {
	info := appendBytes(appendBytes(nil, 1, reason), 2, Domain)
	info = appendMessage(info, 3, appendBytes(appendBytes(nil, 1, retryable), 2, strconv.FormatBool(passes)))
	r := &Reply{Code: code, Message: message, Details: []Detail{{errorInfoType, info}}}
	if passes {
		delay := appendVarint(nil, 1, uint64(after/time.Second))
		delay = appendVarint(delay, 2, uint64(after%time.Second))
		r.Details = append(r.Details, Detail{retryInfoType, appendMessage(nil, 1, delay)})
	}
	return r
}

func explain(reason string) (code Code, message string, passes bool) {
	switch reason {
	case KeyMissing:
		return InvalidArgument, "this method requires an idempotency key; send a unique one, and the same one with every retry", false
	case KeyReused:
		return FailedPrecondition, "idempotency key was sent before with a different request; use a new one", false
	case ScopeRefused:
		return PermissionDenied, "an idempotency key can be used only by a caller who is known", false
	case StreamRefused:
		return InvalidArgument, "a stream cannot be replayed; send no idempotency key", false
	case InFlight:
		return Aborted, "a call with this idempotency key is outstanding; try again later", true
	case InDoubt:
		return Unknown, "an earlier call with this idempotency key broke off, and it is not known if it took effect; it is not repeated until somebody has found out", false
	case ResponseNotKept:
		return FailedPrecondition, "the operation was done before, but its response was too large to be kept", false
	case RolledBack:
		return Aborted, "the operation was rolled back; try again", true
	case OutcomeUnknown:
		return Unavailable, "the operation was run, but its outcome could not be recorded; try again with the same idempotency key", true
	case StoreFull:
		return Unavailable, "no more operations can be recorded now; try again later", true
	case RecordUnreadable:
		return DataLoss, "the record of the operation cannot be read; it is not repeated", false
	}
	return Unavailable, "operations cannot be recorded now; try again later", true
}

// reasonOf returns why the guard refused.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, once.ErrMismatch):
		return KeyReused
	case errors.Is(err, once.ErrInFlight):
		return InFlight
	case errors.Is(err, once.ErrInDoubt):
		return InDoubt
	case errors.Is(err, once.ErrFull):
		return StoreFull
	case errors.Is(err, once.ErrUnreadable):
		return RecordUnreadable
	}
	return StoreUnavailable
}

// hungUp returns the reply to a client that does not wait for it any more.
func hungUp(ctx context.Context) *Reply {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Reply{Code: DeadlineExceeded, Message: "deadline exceeded"}
	}
	return &Reply{Code: Canceled, Message: "canceled"}
}

// Hints are what the details of an error say about trying again.
type Hints struct {
	Reason    string // of the ErrorInfo, if it is ours
	Retryable string // "true", "false" or "": not said
	Delay     time.Duration
	HasDelay  bool // there is a RetryInfo
}

// ParseHints reads them from the details. Whatever it cannot read it takes for not said.
func ParseHints(details []Detail) (h Hints) {
	for _, d := range details {
		switch typeName(d.Type) {
		case "google.rpc.ErrorInfo":
			h.parseErrorInfo(d.Value)
		case "google.rpc.RetryInfo":
			h.parseRetryInfo(d.Value)
		}
	}
	return h
}

func typeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

func (h *Hints) parseErrorInfo(value []byte) {
	reason, domain, says := "", "", ""
	err := eachField(value, func(field int, _ uint64, data []byte) error {
		switch field {
		case 1:
			reason = string(data)
		case 2:
			domain = string(data)
		case 3:
			entry, err := parseDetail(data) // a map entry has the same fields
			if entry.Type == retryable {
				says = string(entry.Value)
			}
			return err
		}
		return nil
	})
	if err == nil && domain == Domain {
		h.Reason, h.Retryable = reason, says
	}
}

func (h *Hints) parseRetryInfo(value []byte) {
	var delay time.Duration
	err := eachField(value, func(field int, _ uint64, data []byte) error {
		if field != 1 {
			return nil
		}
		return eachField(data, func(field int, v uint64, _ []byte) error {
			switch {
			case field == 1 && v <= uint64(1<<63-1)/uint64(time.Second)-1:
				delay += time.Duration(v) * time.Second
			case field == 1 && int64(v) > 0:
				delay = 1<<63 - 1 - time.Second
			case field == 2 && v < uint64(time.Second):
				delay += time.Duration(v)
			}
			return nil
		})
	})
	if err == nil {
		h.Delay, h.HasDelay = delay, true
	}
}
