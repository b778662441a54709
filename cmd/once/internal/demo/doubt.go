package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/admin"
	"github.com/oncehq/once/cmd/once/internal/gateway"
)

// resolved counts what an operator found out about the operations in doubt.
type resolved struct {
	Charged int `json:"charged"`
	Not     int `json:"notCharged"`
}

// resolve does what an operator does with once ls, show and resolve: for each operation in doubt
// it asks the service's ledger, by the derived key that the gateway had sent with the request.
// Then the customers who were told of the doubt ask once more.
func (r *run) resolve(ctx context.Context) (resolved, error) {
	var found resolved
	records, err := admin.Dial(ctx, storePath(r.dir))
	if err != nil {
		return found, err
	}
	defer records.Close()
	// What a killed gateway had in flight is in doubt when its lease is over.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		running, err := collect(ctx, records, once.InFlight)
		if err != nil {
			return found, err
		}
		if len(running) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return found, errors.New("operations do not end")
		}
	}
	doubtful, err := collect(ctx, records, once.InDoubt)
	if err != nil {
		return found, err
	}
	for _, rec := range doubtful {
		message, ok, err := r.askLedger(ctx, gateway.DerivedKey(rec.Key))
		switch {
		case err != nil:
		case ok:
			found.Charged++
			out := once.Outcome{Type: "application/http", Data: message}
			err = records.Complete(ctx, rec.Key, rec.Owner, out, time.Hour)
		default:
			found.Not++
			err = records.Release(ctx, rec.Key, rec.Owner)
		}
		if err != nil {
			return found, fmt.Errorf("resolve: %w", err)
		}
	}
	r.shop(ctx)
	r.network.wait()
	return found, ctx.Err()
}

func collect(ctx context.Context, records admin.Records, s once.State) ([]once.Record, error) {
	var all []once.Record
	for rec, err := range records.List(ctx, once.Filter{State: s}) {
		if err != nil {
			return nil, err
		}
		all = append(all, rec)
	}
	return all, nil
}

// askLedger returns the response that the customer should have got, if the charge was made.
func (r *run) askLedger(ctx context.Context, derived string) ([]byte, bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.serviceAt+"/charges?derived="+url.QueryEscape(derived), nil)
	if err != nil {
		return nil, false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, false, err
	}
	if !json.Valid(body) {
		return nil, false, errors.New("the ledger's answer is no JSON")
	}
	made := http.Response{StatusCode: http.StatusCreated, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body))}
	var message bytes.Buffer
	err = made.Write(&message)
	return message.Bytes(), true, err
}
