package declared

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tailfold/tailfold/projections"
)

const simpleText = `
projections:
- name: customer-totals
  version: 1
  stream: ORDERS
  when: event.type == "OrderPlaced"
  key: event.customer
  seed: {orders: 0, total: 0.0}
  value:
    orders: value.orders + 1
    total: value.total + event.amount
`

// simpleByHand is the same in Go.
type simpleEvent struct {
	Type     string  `json:"type"`
	Customer string  `json:"customer"`
	Amount   float64 `json:"amount"`
}

type simpleValue struct {
	Orders int64   `json:"orders"`
	Total  float64 `json:"total"`
}

func simpleByHand() projections.Projection {
	return projections.Keyed[simpleValue]{Name: "customer-totals", Version: 1, Stream: "ORDERS",
		Key: func(event projections.Event) (string, error) {
			e, err := projections.JSON[simpleEvent](event)
			if err != nil || e.Type != "OrderPlaced" {
				return "", err
			}
			return e.Customer, nil
		},
		Step: func(_ string, v simpleValue, event projections.Event) (simpleValue, error) {
			e, err := projections.JSON[simpleEvent](event)
			if err != nil {
				return v, err
			}
			return simpleValue{v.Orders + 1, v.Total + e.Amount}, nil
		}}
}

func simpleEvents(n int) []projections.Event {
	events := make([]projections.Event, n)
	for i := range events {
		events[i] = projections.Event{Seq: uint64(i + 1), Subject: "orders.1", Data: fmt.Appendf(nil,
			`{"id":"o-%08d","type":"OrderPlaced","customer":"c-%03d","amount":%d.25,"currency":"EUR","note":"none"}`, i, i%100, i%500)}
	}
	return events
}

const hardText = `
projections:
- name: sales
  version: 1
  stream: ORDERS
  when: event.type == "OrderPlaced"
  key:
  - event.customer.country
  - event.customer.country + "/" + event.customer.city
  seed: {orders: 0, qty: 0, cents: 0}
  let:
    qty: sum(event.items, .qty)
    cents: sum(event.items, .qty * .cents)
  value:
    orders: value.orders + 1
    qty: value.qty + qty
    cents: value.cents + cents
    least: min(value.least ?? cents, cents)
    most: max(value.most ?? cents, cents)
    mean: (value.cents + cents) / (value.orders + 1)
    by_status: inc(value.by_status, event.status, 1)
    customers: add_to(value.customers, event.customer.id)
    last: 'keep_last(value.last, event.id, 5)'
    label: upper(event.customer.country) + " " + text(value.orders + 1)
`

type hardEvent struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Status   string `json:"status"`
	Customer struct {
		ID      string `json:"id"`
		Country string `json:"country"`
		City    string `json:"city"`
	} `json:"customer"`
	Items []struct {
		SKU   string `json:"sku"`
		Qty   int64  `json:"qty"`
		Cents int64  `json:"cents"`
	} `json:"items"`
}

type hardValue struct {
	Orders    int64            `json:"orders"`
	Qty       int64            `json:"qty"`
	Cents     int64            `json:"cents"`
	Least     *int64           `json:"least,omitempty"`
	Most      *int64           `json:"most,omitempty"`
	Mean      float64          `json:"mean"`
	ByStatus  map[string]int64 `json:"by_status"`
	Customers []string         `json:"customers"`
	Last      []string         `json:"last"`
	Label     string           `json:"label"`
}

func hardByHand() projections.Projection {
	return projections.Keyed[*hardValue]{Name: "sales", Version: 1, Stream: "ORDERS",
		Keys: func(event projections.Event) ([]string, error) {
			e, err := projections.JSON[hardEvent](event)
			if err != nil || e.Type != "OrderPlaced" {
				return nil, err
			}
			return []string{e.Customer.Country, e.Customer.Country + "/" + e.Customer.City}, nil
		},
		Seed: func() *hardValue { return &hardValue{ByStatus: map[string]int64{}} },
		Step: func(_ string, v *hardValue, event projections.Event) (*hardValue, error) {
			e, err := projections.JSON[hardEvent](event)
			if err != nil {
				return v, err
			}
			if len(e.Items) == 0 {
				return v, errors.New("no items")
			}
			qty, cents := int64(0), int64(0)
			for _, item := range e.Items {
				qty += item.Qty
				cents += item.Qty * item.Cents
			}
			v.Orders, v.Qty, v.Cents = v.Orders+1, v.Qty+qty, v.Cents+cents
			if v.Least == nil || cents < *v.Least {
				v.Least = &cents
			}
			if v.Most == nil || cents > *v.Most {
				v.Most = &cents
			}
			v.Mean = float64(v.Cents) / float64(v.Orders)
			v.ByStatus[e.Status]++
			if !slices.Contains(v.Customers, e.Customer.ID) {
				v.Customers = append(v.Customers, e.Customer.ID)
			}
			v.Last = append(v.Last, e.ID)
			v.Last = v.Last[max(0, len(v.Last)-5):]
			v.Label = strings.ToUpper(e.Customer.Country) + " " + strconv.FormatInt(v.Orders, 10)
			return v, nil
		}}
}

func hardEvents(n int) []projections.Event {
	events := make([]projections.Event, n)
	for i := range events {
		events[i] = projections.Event{Seq: uint64(i + 1), Subject: "orders.1", Data: fmt.Appendf(nil,
			`{"id":"o-%08d","type":"OrderPlaced","status":"s%d","customer":{"id":"c-%02d","name":"somebody or other","country":"x%d","city":"y%d"},`+
				`"items":[{"sku":"a-1","qty":2,"cents":1999},{"sku":"b-2","qty":1,"cents":250},{"sku":"c-3","qty":7,"cents":%d}],"note":"leave it at the door, please","at":"2026-11-23T10:15:00Z"}`,
			i, i%4, i%20, i%5, i%3, i)}
	}
	return events
}

// warmed is a fold that holds all values which the events need.
func warmed(t testing.TB, p projections.Projection, events []projections.Event) projections.Fold {
	t.Helper()
	f := p.NewFold(projections.FoldOptions{})
	projections.Share(events)
	for _, key := range f.Plan(events) {
		if err := f.Load(key, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Step(); err != nil {
		t.Fatal(err)
	}
	return f
}

// refold folds a batch once more, as the next one.
func refold(t testing.TB, f projections.Fold, events []projections.Event) {
	projections.Share(events)
	if missing := f.Plan(events); len(missing) > 0 {
		t.Fatalf("%d keys are missing", len(missing))
	}
	if err := f.Step(); err != nil {
		t.Fatal(err)
	}
}

// A simple fold costs no memory per event: what it allocates, it allocates per batch.
func TestASimpleFoldAllocatesNothingPerEvent(t *testing.T) {
	for _, n := range []int{1000, 4000} {
		events := simpleEvents(n)
		f := warmed(t, one(t, simpleText), events)
		allocations := testing.AllocsPerRun(20, func() { refold(t, f, events) })
		if allocations > 20 && !underRace { // the race detector makes pools forget at random
			t.Errorf("%v allocations for a batch of %d events, want a handful", allocations, n)
		}
	}
}

func TestTheHandWrittenFoldsOfTheBenchmarksAgree(t *testing.T) {
	for _, pair := range []struct {
		declared string
		byHand   projections.Projection
		events   []projections.Event
	}{{simpleText, simpleByHand(), simpleEvents(500)}, {hardText, hardByHand(), hardEvents(500)}} {
		declared, err := folded(t, one(t, pair.declared), pair.events)
		if err != nil {
			t.Fatal(err)
		}
		byHand, err := folded(t, pair.byHand, pair.events)
		if err != nil {
			t.Fatal(err)
		}
		if len(declared) != len(byHand) {
			t.Fatalf("%d keys, by hand %d", len(declared), len(byHand))
		}
		for key := range declared {
			a, err := readLoosely(declared[key])
			if err != nil {
				t.Fatal(err)
			}
			b, err := readLoosely(byHand[key])
			if err != nil {
				t.Fatal(err)
			}
			if !same(a, b, func(int) bool { return true }) {
				t.Errorf("key %s: %s, by hand %s", key, declared[key], byHand[key])
			}
		}
	}
}

// readLoosely reads a value that is not in canonical form.
func readLoosely(stored string) (value, error) {
	r, err := read([]byte(stored))
	if err != nil {
		return value{}, err
	}
	return r.value(0), nil
}

func benchmarkFold(b *testing.B, p projections.Projection, events []projections.Event) {
	f := warmed(b, p, events)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		refold(b, f, events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}

func BenchmarkFoldSimple(b *testing.B) {
	b.Run("declared", func(b *testing.B) { benchmarkFold(b, one(b, simpleText), simpleEvents(1000)) })
	b.Run("by hand", func(b *testing.B) { benchmarkFold(b, simpleByHand(), simpleEvents(1000)) })
}

func BenchmarkFoldHard(b *testing.B) {
	b.Run("declared", func(b *testing.B) { benchmarkFold(b, one(b, hardText), hardEvents(1000)) })
	b.Run("by hand", func(b *testing.B) { benchmarkFold(b, hardByHand(), hardEvents(1000)) })
}
