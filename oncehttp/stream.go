package oncehttp

import (
	"net/http"
	"strings"
)

const eventStream = "text/event-stream"

// isUpgrade reports whether the request wants the connection for something else than HTTP (RFC
// 9110 sections 7.8 and 9.3.6).
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodConnect ||
		len(r.Header["Upgrade"]) > 0 && hasListElement(r.Header["Connection"], "upgrade")
}

// wantsEvents reports whether the request accepts an event stream and nothing else. One that would
// accept a plain answer too may well get one.
func wantsEvents(r *http.Request) bool {
	accepts := false
	for _, line := range r.Header["Accept"] {
		for media := range strings.SplitSeq(line, ",") {
			if media = mediaType(media); media == "" {
				continue
			}
			if !strings.EqualFold(media, eventStream) {
				return false
			}
			accepts = true
		}
	}
	return accepts
}

// isEvents reports whether the response is an event stream.
func isEvents(h http.Header) bool {
	return strings.EqualFold(mediaType(first(h["Content-Type"])), eventStream)
}
