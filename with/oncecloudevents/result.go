package oncecloudevents

import (
	"net/http"

	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/oncehq/once/oncemsg"
)

// Result acknowledges an event that is dealt with, and refuses to acknowledge any other. It wraps
// the decision as an *oncemsg.Error.
//
// What a protocol does about an event that is not acknowledged is up to that; some go on with the next one
// and lose it. Set oncemsg.Config.DeadLetter for what another delivery would not help.
func Result(d oncemsg.Decision) protocol.Result {
	err := d.AsError()
	if err == nil {
		return protocol.ResultACK
	}
	return protocol.NewReceipt(false, "%w", err)
}

// HTTPResult is [Result] for a receiver over HTTP: 503 asks the sender to send again, and 422 not
// to.
func HTTPResult(d oncemsg.Decision) protocol.Result {
	switch d.Verb {
	case oncemsg.Ack:
		return protocol.ResultACK
	case oncemsg.DeadLetter:
		return cehttp.NewResult(http.StatusUnprocessableEntity, "%w", Result(d))
	}
	return cehttp.NewResult(http.StatusServiceUnavailable, "%w", Result(d))
}
