package onceecho

import (
	"net/http"

	"github.com/labstack/echo/v5"
)

// A client is the response as package oncehttp expects it. Echo's own takes the first informational
// status for that of the response.
type client struct{ http.ResponseWriter }

func (w *client) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *client) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		if r, err := echo.UnwrapResponse(w.ResponseWriter); err == nil {
			r.ResponseWriter.WriteHeader(status)
			return
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// An answered response takes no more. An error handler that does not look if a response is committed
// would else add to one that was recorded without that.
type answered struct{ http.ResponseWriter }

func (w *answered) Unwrap() http.ResponseWriter       { return w.ResponseWriter }
func (w *answered) WriteHeader(int)                   {}
func (w *answered) Write(p []byte) (int, error)       { return len(p), nil }
func (w *answered) WriteString(s string) (int, error) { return len(s), nil }
