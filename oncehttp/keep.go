package oncehttp

import "net/http"

// A Decision is what a response means for the operation.
type Decision uint8

const (
	// Complete: the response is the outcome. It is recorded, and replayed to every later caller.
	Complete Decision = 1 + iota

	// Release: nothing happened. The key is free, and the next caller may run.
	Release

	// Abandon: nobody knows if anything happened. The operation is in doubt, and the policy of
	// the guard decides what the next caller may do.
	Abandon
)

// KeepFinal is the default of [Config.Keep]: responses that will not change are outcomes. Those
// that ask the client to come back say that nothing happened (408, 425, 429, 503). All other
// server errors leave it open how far the handler got.
func KeepFinal(status int) Decision {
	switch {
	case status == http.StatusRequestTimeout,
		status == http.StatusTooEarly,
		status == http.StatusTooManyRequests,
		status == http.StatusServiceUnavailable:
		return Release
	case status >= 500:
		return Abandon
	}
	return Complete
}

// KeepAll is for [Config.Keep]: every response is the outcome, also an error of the server.
func KeepAll(int) Decision { return Complete }

// KeepSuccess is for [Config.Keep]: only a success (2xx) is an outcome. After a redirection or
// an error of the client the next caller may run. Errors of the server mean what they mean to
// [KeepFinal].
func KeepSuccess(status int) Decision {
	switch d := KeepFinal(status); {
	case 200 <= status && status <= 299, status >= 500:
		return d
	}
	return Release
}
