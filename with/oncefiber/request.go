package oncefiber

import (
	"bytes"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"

	"github.com/valyala/fasthttp"
)

// request returns the request as one of net/http. Nothing in it but the body is memory that
// fasthttp uses again: keys and scopes are kept.
func (x *exchange) request() (*http.Request, error) {
	ctx := x.c.RequestCtx()
	uri := string(ctx.Request.Header.RequestURI())
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, err
	}
	fields := copier{header: make(http.Header, usualFields)}
	for k, v := range ctx.Request.Header.All() {
		if name := textproto.CanonicalMIMEHeaderKey(fields.hold(k)); name != "Host" {
			fields.add(name, v)
		}
	}
	r := &http.Request{
		Method:     fields.hold(ctx.Method()),
		URL:        u,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     fields.header,
		Host:       fields.hold(ctx.Host()),
		RemoteAddr: ctx.RemoteAddr().String(),
		RequestURI: uri,
		TLS:        ctx.TLSConnectionState(),
	}
	x.setBody(r, &ctx.Request)
	return r.WithContext(x), nil
}

func (x *exchange) setBody(r *http.Request, req *fasthttp.Request) {
	if req.IsBodyStream() {
		r.ContentLength = int64(max(req.Header.ContentLength(), -1))
		r.Body = stream{req.BodyStream()}
		return
	}
	body := x.parsedForm()
	if body == nil {
		body = req.Body()
	}
	r.ContentLength = int64(len(body))
	r.Body = http.NoBody
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
}

// A stream is a body that fasthttp has not read yet.
type stream struct{ io.Reader }

func (stream) Close() error { return nil }

// giveBody gives the handlers the body that package oncehttp has read from fasthttp's stream.
func (x *exchange) giveBody(r *http.Request) {
	if req := x.c.Request(); req.IsBodyStream() {
		if _, unread := r.Body.(stream); unread {
			return
		}
		if body, err := io.ReadAll(r.Body); err == nil { // it is in memory
			req.SetBodyRaw(body)
		}
	}
}

// parsedForm returns a form of several parts that fasthttp has already parsed, written again in one
// order: that in which the parts came is lost, and that of fasthttp differs each time. It returns nil
// if the body is no such form.
func (x *exchange) parsedForm() []byte {
	ctx := x.c.RequestCtx()
	boundary := ctx.Request.Header.MultipartFormBoundary()
	if len(boundary) == 0 || x.c.App().Config().DisablePreParseMultipartForm {
		return nil
	}
	form, err := ctx.MultipartForm()
	if err != nil {
		return nil
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if w.SetBoundary(string(boundary)) != nil || writeForm(w, form) != nil {
		return nil
	}
	return body.Bytes()
}

func writeForm(w *multipart.Writer, form *multipart.Form) error {
	for _, name := range slices.Sorted(maps.Keys(form.Value)) {
		for _, value := range form.Value[name] {
			if err := w.WriteField(name, value); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(form.File)) {
		for _, file := range form.File[name] {
			if err := writeFile(w, file); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

func writeFile(w *multipart.Writer, file *multipart.FileHeader) error {
	f, err := file.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	part, err := w.CreatePart(file.Header)
	if err != nil {
		return err
	}
	_, err = io.Copy(part, f)
	return err
}
