package projectiontest

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/projections"
)

// Event makes an event. Data that is a string or a []byte is taken as it is, everything else is encoded as JSON. The
// header is given as names and values in turn. Seq and Time are for Log to give, or the caller.
func Event(subject string, data any, header ...string) projections.Event {
	event := projections.Event{Subject: subject, Header: projections.NewHeader(header...)}
	switch data := data.(type) {
	case nil:
	case string:
		event.Data = []byte(data)
	case []byte:
		event.Data = data
	default:
		encoded, err := json.Marshal(data, json.Deterministic(true))
		if err != nil {
			panic(fmt.Sprintf("projectiontest: the data of an event of subject %s is a %T, which can't be encoded as JSON: %v",
				subject, data, err))
		}
		event.Data = encoded
	}
	return event
}

// Log puts events into an order. One without a Seq gets the seq after the one before it, one without a Time is stored
// as many seconds into the year 2026 as its seq says.
func Log(events ...projections.Event) []projections.Event {
	var last uint64
	log := make([]projections.Event, len(events))
	for i, event := range events {
		if event.Seq == 0 {
			event.Seq = last + 1
		}
		if event.Seq <= last {
			panic(fmt.Sprintf("projectiontest: event %d has seq %d, but comes after seq %d: a log's seqs rise", i+1, event.Seq, last))
		}
		if event.Time.IsZero() {
			event.Time = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(event.Seq) * time.Second)
		}
		log[i], last = event, event.Seq
	}
	return log
}

// Events makes a log of events of one subject, with seqs from 1 on.
func Events(subject string, data ...any) []projections.Event {
	events := make([]projections.Event, len(data))
	for i := range data {
		events[i] = Event(subject, data[i])
	}
	return Log(events...)
}
