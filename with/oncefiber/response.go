package oncefiber

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"

	"github.com/oncehq/once/oncehttp"
)

// gather reads a stream that can be kept, so that it can be recorded.
func (x *exchange) gather() error {
	response := x.c.Response()
	size := int64(response.Header.ContentLength())
	if !response.IsBodyStream() || size < 0 || size > x.most {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.BodyStream(), size+1))
	if err == nil && int64(len(body)) != size {
		err = fmt.Errorf("oncefiber: the handler's stream has not the %d bytes that it should have", size)
	}
	response.SetBodyRaw(body)
	return err
}

// own is a field, of a name that no field can have, that marks the header of the handlers' response.
const own = "(own)"

// show shows package oncehttp the response that the handlers have made. It stays where it is: if that
// is what is to be sent, nothing needs to be done.
func (x *exchange) show(w http.ResponseWriter, r *http.Request) {
	response, h := x.c.Response(), w.Header()
	clear(h)
	readHeader(h, x.c)
	h[own] = nil
	if response.IsBodyStream() || x.c.RequestCtx().Hijacked() {
		oncehttp.NoStore(r.Context())
		w.WriteHeader(response.StatusCode())
		return
	}
	var body []byte
	if bodyAllowed(response) {
		body = response.Body()
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(response.StatusCode())
	if len(body) > 0 {
		w.Write(body)
	}
}

// bodyAllowed reports whether fasthttp will send a body.
func bodyAllowed(response *fasthttp.Response) bool {
	status := response.StatusCode()
	return status != fiber.StatusNoContent && status != fiber.StatusNotModified
}

// readHeader adds the fields of the response to h, but for those of its framing.
func readHeader(h http.Header, c fiber.Ctx) {
	response := c.Response()
	preset := c.App().Config().DisableDefaultContentType
	response.Header.SetNoDefaultContentType(true) // to see if the handlers have set one
	fields := copier{header: h}
	for k, v := range response.Header.All() {
		if string(k) != "Content-Length" {
			fields.add(fields.hold(k), v)
		}
	}
	response.Header.SetNoDefaultContentType(preset)
	if _, typed := h["Content-Type"]; typed {
		return
	}
	if response.IsBodyStream() || bodyAllowed(response) && len(response.Body()) > 0 {
		h["Content-Type"] = nil // net/http would guess one
		if !preset {
			h["Content-Type"] = []string{string(response.Header.ContentType())}
		}
	}
}

// writeHeader makes the response one without a body that has this header.
func writeHeader(response *fasthttp.Response, h http.Header) {
	var names []string
	for k := range response.Header.All() {
		names = append(names, string(k))
	}
	for _, name := range names {
		response.Header.Del(name)
	}
	response.ResetBody()
	response.SetStatusCode(fiber.StatusOK)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		values := h[name]
		if name == "Content-Type" && len(values) == 0 {
			response.Header.SetNoDefaultContentType(true)
		}
		for _, v := range values {
			if name != "Content-Length" { // fasthttp counts itself
				response.Header.Add(name, v)
			}
		}
	}
}

// A client is Fiber's response as package oncehttp expects it.
type client struct {
	response *fasthttp.Response
	header   http.Header
	status   int  // zero: not yet known
	own      bool // it is the response of the handlers, and already there
}

func (w *client) Header() http.Header { return w.header }

func (w *client) WriteHeader(status int) {
	if w.status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.status = status
	if _, w.own = w.header[own]; !w.own {
		writeHeader(w.response, w.header)
		w.response.SetStatusCode(status)
	}
}

func (w *client) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.own {
		w.response.AppendBody(p)
	}
	return len(p), nil
}
