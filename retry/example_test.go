package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncehq/once/retry"
)

func ExampleDo() {
	policy := retry.Policy{
		Base:   time.Millisecond,
		Budget: new(retry.Budget), // one for all calls of the same service
	}
	tries := 0
	answer, err := retry.Do(context.Background(), policy, func(context.Context) (string, error) {
		tries++
		if tries < 3 {
			return "", retry.Again(errors.New("connection reset"), 0)
		}
		return "hello", nil
	})
	fmt.Println(answer, err, tries)
	// Output: hello <nil> 3
}

// A loop of one's own sees every pause.
func ExampleSeries() {
	ctx := context.Background()
	series := retry.Policy{Base: time.Millisecond, Tries: 3}.Start()
	for {
		fmt.Println("try", series.Tries())
		pause, err := series.Next(ctx, 0)
		if err == nil {
			err = retry.Sleep(ctx, pause)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// try 1
	// try 2
	// try 3
	// retry: no tries are left
}
