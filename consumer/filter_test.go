package consumer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tailfold/tailfold/consumer"
)

// dear is the log of one partition, whose server takes a time for each event that a filter lets through, and for each
// message that is read without one.
type dear struct {
	consumer.Log
	filtered, whole time.Duration

	mu   sync.Mutex
	told []string // how readers were opened
}

func (d *dear) Open(ctx context.Context, after uint64, subjects []string) (consumer.Reader, error) {
	r, err := d.Log.Open(ctx, after, subjects)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(subjects) == 0 {
		d.told = append(d.told, "whole")
		return &dearReader{r, d.whole}, err
	}
	d.told = append(d.told, "filtered")
	return &dearReader{r, d.filtered}, err
}

type dearReader struct {
	consumer.Reader
	each time.Duration
}

func (r *dearReader) Next(ctx context.Context) (consumer.Batch, error) {
	b, err := r.Reader.Next(ctx)
	time.Sleep(time.Duration(len(b.Events)) * r.each) // in a bubble
	return b, err
}

func TestAFilterThatCostsMoreThanItSavesIsLeftOutFarFromTheHead(t *testing.T) {
	for name, c := range map[string]struct {
		filtered, whole time.Duration
		want            string
	}{
		"thousands of subjects":     {40 * time.Microsecond, time.Microsecond, "filtered whole filtered"},
		"few subjects":              {4 * time.Microsecond, time.Microsecond, "filtered"},
		"it is the way that's slow": {40 * time.Microsecond, 40 * time.Microsecond, "filtered whole filtered"}, // tried, and given up at once
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTown(t)
				const events = 160_000
				for i := range events {
					h.deed(i%partitions, i)
				}
				logs := make([]*dear, partitions)
				h.tune = func(config *consumer.Config) {
					config.Streams = []consumer.Stream{h.stream}
					config.Logs = func(_ consumer.Stream, partition int) (consumer.Log, error) {
						logs[partition] = &dear{Log: h.log, filtered: c.filtered, whole: c.whole}
						return logs[partition], nil
					}
				}
				w := h.start(countAll())
				settle(time.Minute)
				h.mustBeEqual(countAll())
				for i := range 2000 { // near the head nothing changes any more
					h.deed(i%partitions, i)
					settle(5 * time.Millisecond)
				}
				settle(10 * time.Second)
				h.mustBeEqual(countAll())
				w.stop()
				for partition, log := range logs {
					if told := strings.Join(log.told, " "); told != c.want {
						t.Errorf("partition %d was read %s, want %s", partition, told, c.want)
					}
				}
			})
		})
	}
}
