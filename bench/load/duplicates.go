package load

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
)

// Duplicates is the gate for every figure: for each of the keys, all connections send the same
// request at the same moment. Every one of them must be answered 2xx with the same body. The
// server's answers must differ from execution to execution, so that one body means one execution.
func Duplicates(p Plan, keys []string) error {
	conns := make([]*Conn, p.Conns)
	for i := range conns {
		c, err := Dial(p.Addr)
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
	}
	seen := make(map[string]bool)
	for _, key := range keys {
		answers := make([]Answer, len(conns))
		errs := make([]error, len(conns))
		var wg sync.WaitGroup
		gate := make(chan struct{})
		for i, c := range conns {
			wg.Go(func() {
				<-gate
				answers[i], errs[i] = c.Do(p, key)
			})
		}
		close(gate)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, a := range answers {
			if a.Status/100 != 2 || !bytes.Equal(a.Body, answers[0].Body) {
				return fmt.Errorf("load: %d duplicates of one key were not all given one answer: status %d", len(conns), a.Status)
			}
		}
		if body := string(answers[0].Body); seen[body] {
			return errors.New("load: two keys were given the same answer")
		} else {
			seen[body] = true
		}
	}
	return nil
}
