package linear

import "time"

// A Connection to a store's server can be disturbed. A Proxy of internal/servers is one.
type Connection interface {
	DropRequest(text string) // cuts it before the next request that contains the text arrives
	CutReply(text string)    // cuts it when the server has answered such a request
	Cut()                    // cuts all connections that there are, and new ones until
	Mend()
}

// Cutting returns a function for [Options.Disturb] that cuts the connection again and again: before a
// request arrived, before its reply did, and all at once.
func Cutting(c Connection, every time.Duration) func(stop <-chan struct{}) {
	return func(stop <-chan struct{}) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			switch n % 3 {
			case 0:
				c.DropRequest("")
			case 1:
				c.CutReply("")
			case 2:
				c.Cut()
				c.Mend()
			}
		}
	}
}

// Sleep returns after the duration, or when stop is closed. It is for functions that disturb.
func Sleep(stop <-chan struct{}, d time.Duration) {
	select {
	case <-stop:
	case <-time.After(d):
	}
}
