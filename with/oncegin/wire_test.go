package oncegin_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/oncehq/once/oncehttp"
)

// wireHandlers are handlers whose responses must look the same with and without the middleware.
var wireHandlers = []struct {
	name    string
	handler gin.HandlerFunc
}{
	{"nothing", func(*gin.Context) {}},
	{"status alone", func(c *gin.Context) { c.Status(201) }},
	{"status twice", func(c *gin.Context) { c.Status(201); c.Status(202) }},
	{"status after the body", func(c *gin.Context) { c.String(201, "made"); c.Status(500) }},
	{"json", func(c *gin.Context) { c.JSON(201, gin.H{"id": c.Param("id"), "q": c.Query("q")}) }},
	{"json twice", func(c *gin.Context) { c.JSON(201, 1); c.JSON(500, 2) }},
	{"body of the request", func(c *gin.Context) {
		b, err := c.GetRawData()
		c.String(200, "%s %v", b, err)
	}},
	{"binary", func(c *gin.Context) { c.Data(200, "image/png", []byte{0, 1, 255, '\r', '\n'}) }},
	{"no content", func(c *gin.Context) { c.JSON(204, 1) }},
	{"cookies", func(c *gin.Context) {
		c.SetCookie("a", "1", 60, "/", "", true, true)
		c.SetCookie("b", "2, 3", 60, "/", "", true, true)
		c.String(200, "baked")
	}},
	{"redirect", func(c *gin.Context) { c.Redirect(303, "/things/7") }},
	{"aborted", func(c *gin.Context) { c.AbortWithStatus(403) }},
	{"aborted with an error", func(c *gin.Context) { c.AbortWithError(422, errors.New("no")) }},
	{"aborted with json", func(c *gin.Context) { c.AbortWithStatusJSON(409, gin.H{"taken": true}) }},
	{"unavailable", func(c *gin.Context) { c.JSON(503, gin.H{}) }},
	{"failed", func(c *gin.Context) { c.String(500, "oops") }},
	{"many writes", func(c *gin.Context) {
		for i := range 3000 {
			fmt.Fprintf(c.Writer, "line %d\n", i)
		}
	}},
	{"strings", func(c *gin.Context) { c.Writer.WriteString("<html>"); io.WriteString(c.Writer, "hello") }},
	{"copy", func(c *gin.Context) { io.Copy(c.Writer, bytes.NewReader(make([]byte, 10000))) }},
	{"copy of a string", func(c *gin.Context) { io.Copy(c.Writer, strings.NewReader(strings.Repeat("x", 10000))) }},
	{"copy of a plain reader", func(c *gin.Context) {
		io.Copy(c.Writer, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 70000))})
	}},
	{"reader with its length", func(c *gin.Context) {
		c.DataFromReader(200, 9000, "text/plain", bytes.NewReader(make([]byte, 9000)), map[string]string{"X-A": "1"})
	}},
	{"flush first", func(c *gin.Context) { c.Writer.Flush(); c.Writer.WriteString("late") }},
	{"flush between", func(c *gin.Context) {
		c.Writer.WriteString("a")
		c.Writer.Flush()
		c.Writer.WriteString("b")
		http.NewResponseController(c.Writer).Flush()
	}},
	{"stream", func(c *gin.Context) {
		i := 0
		c.Stream(func(w io.Writer) bool { i++; fmt.Fprint(w, i); return i < 4 })
	}},
	{"header now", func(c *gin.Context) {
		c.Header("X-A", "1")
		c.Status(202)
		c.Writer.WriteHeaderNow()
		c.Header("X-A", "2")
		c.Header("X-B", "2")
		c.Writer.WriteString("accepted")
	}},
	{"trailers", func(c *gin.Context) {
		c.Header("Trailer", "X-Sum")
		c.String(200, "hello")
		c.Header("X-Sum", "abc")
	}},
	{"trailers without a body", func(c *gin.Context) {
		c.Header("Trailer", "X-Sum")
		c.Status(200)
		c.Writer.WriteHeaderNow()
		c.Header("X-Sum", "abc")
	}},
	{"event", func(c *gin.Context) { c.SSEvent("note", "hello") }},
	{"informational", func(c *gin.Context) {
		c.Header("Link", "</a.css>; rel=preload")
		c.Writer.(interface{ Unwrap() http.ResponseWriter }).Unwrap().WriteHeader(103)
		c.String(200, "after hints")
	}},
	{"html", func(c *gin.Context) { c.Data(200, gin.MIMEHTML, []byte("<p>")) }},
	{"file", func(c *gin.Context) { c.File("doc.go") }},
}

func TestFirstResponseIsTheSameOnTheWire(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{})
	for _, h := range wireHandlers {
		t.Run(h.name, func(t *testing.T) {
			want := newSite(t, h.handler).raw(h.name)
			if got := newSite(t, guarded, h.handler).raw(h.name); got != want {
				t.Errorf("with the middleware:\n%.1000q\nwithout:\n%.1000q", got, want)
			}
		})
	}
}

// Outside of the middleware the context tells of the response, whoever made it.
func TestMiddlewareOutsideSeesTheResponse(t *testing.T) {
	t.Parallel()
	guarded := guardedBy(t, oncehttp.Config{Keep: oncehttp.KeepAll})
	seen := make(chan string, 3)
	look := func(c *gin.Context) {
		w, r := c.Writer, c.Request
		c.Next()
		seen <- fmt.Sprint(c.Writer.Status(), c.Writer.Size(), c.Writer.Written())
		if c.Writer != w || c.Request != r {
			t.Error("the context is not given back")
		}
	}
	for _, h := range wireHandlers {
		if h.name == "event" {
			continue // is not kept
		}
		t.Run(h.name, func(t *testing.T) {
			newSite(t, look, func(c *gin.Context) {
				h.handler(c)
				c.Writer.WriteHeaderNow()
			}).raw(h.name)
			s := newSite(t, look, guarded, h.handler)
			s.raw(h.name)
			s.raw(h.name)
			s.wantRuns(1)
			if a, b, c := <-seen, <-seen, <-seen; b != a || c != a {
				t.Errorf("bare, guarded and replayed: %q, %q, %q", a, b, c)
			}
		})
	}
}
