package oncecloudevents

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/oncehq/once/oncemsg"
)

// HTTPHandler receives events over HTTP, one in each request, in binary or in structured mode. The answers
// are those of [Receiver.Reply], and their statuses those of [HTTPResult], unless Config.Result returns
// others; a sender that should send again is told when by Retry-After.
//
// What is being handled goes on when its sender has gone: the sender will send again, and is then told
// what came of it. So http.Server.Shutdown waits for handlers.
//
// Use it in place of the SDK's NewHTTPReceiveHandler, in which requests trade places: each puts its event
// into one queue, and a goroutine of each takes any event from there, under the context of its own
// request, or none if that is done. So an event is handled under the context of another request, and
// a request whose goroutine has left stays without an answer, until another one comes or for ever.
//
// A body is read as a whole: put http.MaxBytesHandler before it. Batches are refused (415), and so is
// every method but POST (405): answer the OPTIONS of the web hooks' handshake yourself.
func (r *Receiver) HTTPHandler(h func(context.Context, event.Event) (*event.Event, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx := context.WithoutCancel(req.Context())
		e, status := read(req)
		if status != 0 {
			if status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", http.MethodPost)
			}
			http.Error(w, "oncecloudevents: not one valid event: "+http.StatusText(status), status)
			return
		}
		answer, d := r.handle(ctx, e, h)
		status = r.status(d)
		if d.Verb == oncemsg.Retry {
			w.Header().Set("Retry-After", strconv.Itoa(max(1, int((d.After+time.Second-1)/time.Second))))
		}
		switch {
		case status/100 != 2:
			http.Error(w, "oncecloudevents: "+d.Kind.String(), status)
		case answer == nil:
			w.WriteHeader(status)
		default: // a sender that is not told sends again
			cehttp.WriteResponseWriter(ctx, (*binding.EventMessage)(answer), status, w)
		}
	})
}

// read returns the event, or the status that says why there is none.
func read(req *http.Request) (e event.Event, status int) {
	if req.Method != http.MethodPost {
		return e, http.StatusMethodNotAllowed
	}
	m := cehttp.NewMessageFromHttpRequest(req)
	defer m.Finish(nil)
	if encoding := m.ReadEncoding(); encoding != binding.EncodingBinary && encoding != binding.EncodingStructured {
		return e, http.StatusUnsupportedMediaType
	}
	read, err := binding.ToEvent(req.Context(), m)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return e, http.StatusRequestEntityTooLarge
	}
	if err != nil || read.Validate() != nil {
		return e, http.StatusBadRequest
	}
	return *read, 0
}

func (r *Receiver) status(d oncemsg.Decision) int {
	var result *cehttp.Result
	if protocol.ResultAs(r.cfg.Result(d), &result) || protocol.ResultAs(HTTPResult(d), &result) {
		return result.StatusCode
	}
	return http.StatusOK // an acknowledgement has no status of its own
}
