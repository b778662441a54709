package transcript_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
)

// A service is what stands behind every door. It counts what it does; its handlers are written in
// the manner of each framework, but answer what it says.
type service struct {
	things  atomic.Int64
	running chan struct{} // is sent to when a slow handler runs
	finish  chan struct{} // lets it return
	over    chan struct{} // closed: nobody waits any more
}

func newService() *service {
	return &service{running: make(chan struct{}, 1), finish: make(chan struct{}, 1), over: make(chan struct{})}
}

// A reply is a response as the service means it.
type reply struct {
	status int
	fields [][2]string
	body   string

	// failed: in the framework's manner this is an error, and its text the body.
	failed bool
}

// routes are what the service takes, a method and a path each.
func routes() [][2]string {
	all := [][2]string{{"GET", "/things"}, {"HEAD", "/things"}, {"PATCH", "/things"}, {"PUT", "/things"}, {"DELETE", "/things"}}
	for _, path := range []string{"things", "slow", "empty", "nothing", "cookies", "binary", "large", "redirect", "missing", "echo",
		"status/400", "status/408", "status/409", "status/429", "status/500", "status/503"} {
		all = append(all, [2]string{"POST", "/" + path})
	}
	return all
}

// answer does what is asked for.
func (s *service) answer(method, path, body string) reply {
	if method == "GET" || method == "HEAD" {
		return s.thing(200, s.things.Load())
	}
	n := s.things.Add(1)
	text := [2]string{"Content-Type", "text/plain; charset=utf-8"}
	switch path {
	case "/slow":
		s.running <- struct{}{}
		select {
		case <-s.finish:
		case <-s.over:
		}
	case "/empty":
		return reply{status: 204}
	case "/nothing":
		return reply{status: 202, fields: [][2]string{{"X-Count", strconv.FormatInt(n, 10)}}}
	case "/cookies":
		return reply{status: 200, body: "baked", fields: [][2]string{text,
			{"Set-Cookie", "a=1; Path=/"}, {"Set-Cookie", "b=2, 3; HttpOnly"}, {"X-Tag", "one, two"}, {"X-Tag", "three"}}}
	case "/binary":
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		return reply{status: 200, body: string(all), fields: [][2]string{{"Content-Type", "application/octet-stream"}}}
	case "/large":
		return reply{status: 200, body: fmt.Sprintf("%0100d", n),
			fields: [][2]string{{"Content-Length", "100"}, text}}
	case "/redirect":
		return reply{status: 303, fields: [][2]string{{"Location", "/things/" + strconv.FormatInt(n, 10)}}}
	case "/missing":
		return reply{status: 404, body: "no such thing", failed: true}
	case "/echo":
		return reply{status: 200, body: body, fields: [][2]string{text}}
	}
	var status int
	if _, err := fmt.Sscanf(path, "/status/%d", &status); err == nil {
		return reply{status: status, body: fmt.Sprintf("try %d", n), fields: [][2]string{text}}
	}
	return s.thing(201, n)
}

func (s *service) thing(status int, n int64) reply {
	r := reply{status: status, body: fmt.Sprintf(`{"things":%d}`, n), fields: [][2]string{{"Content-Type", "application/json"}}}
	if status == 201 {
		r.fields = append(r.fields, [2]string{"Location", fmt.Sprintf("/things/%d", n)})
	}
	return r
}
